//! The signer as clients use it: `jwtproxy` with a `signer_proxy` and an authority.

use crate::authority::TestAuthority;
use crate::jwtproxy::Jwtproxy;
use jwt_core::testing::TestSigner;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A running signer that stands in for `https` servers.
pub struct Signer {
    jwtproxy: Jwtproxy,
}

impl Signer {
    /// Starts one that trusts the servers of `servers`. `extra` is more YAML for `signer_proxy:`.
    pub async fn start(servers: &TestAuthority, extra: &str) -> Self {
        Self::start_with(servers, extra, &[]).await
    }

    /// The same, with command-line arguments.
    pub async fn start_with(servers: &TestAuthority, extra: &str, arguments: &[&str]) -> Self {
        let yaml = format!("{YAML}{}", indented(extra));
        let authority = TestAuthority::new("the signer's authority");
        let (key, certificate) = (authority.key(), authority.certificate());
        let roots = servers.certificate();
        let files = [
            ("service.key", TestSigner::SERVICE_PRIVATE_PEM),
            ("ca.key", &key),
            ("ca.crt", &certificate),
            ("roots.pem", &roots),
        ];
        Self {
            jwtproxy: Jwtproxy::start(&yaml, &files, arguments).await,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.jwtproxy.signer.expect("a signer")
    }

    /// Where it listens, as clients are told.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The certificate that its clients trust.
    pub fn authority(&self) -> PathBuf {
        self.jwtproxy.folder().join("ca.crt")
    }

    /// The process.
    pub fn process(&mut self) -> &mut Jwtproxy {
        &mut self.jwtproxy
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.jwtproxy.log()
    }
}

const YAML: &str = r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    ca_key_file: "$DIR/ca.key"
    ca_crt_file: "$DIR/ca.crt"
    trusted_certificates: ["$DIR/roots.pem"]
    signer:
      issuer: svc
      private_key:
        type: preshared
        options: {key_id: k1, private_key_path: "$DIR/service.key"}
"#;

fn indented(yaml: &str) -> String {
    yaml.lines().map(|line| format!("    {line}\n")).collect()
}
