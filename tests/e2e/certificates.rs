use jwt_core::testing::TestSigner;
use jwtproxy_tests::certificates::TestCa;
use jwtproxy_tests::curl::curl as direct_curl;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::tools::{curl, python, run};
use jwtproxy_tests::upstream::Upstream;
use std::net::TcpListener;
use std::path::Path;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const SIGNER: &str = r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    ca_key_file: "$DIR/ca.key"
    ca_crt_file: "$DIR/ca.crt"
    trusted_certificates: ["$DIR/server.crt"]
    signer:
      issuer: svc
      private_key:
        type: preshared
        options: {key_id: k1, private_key_path: "$DIR/service.key"}
"#;

/// A certificate and its key, made by `openssl req -x509` as documentation everywhere says, and by
/// `change` more.
async fn openssl_req(folder: &Path, common_name: &str, change: &[&str]) -> (String, String) {
    let [key, certificate] = ["key", "crt"].map(|name| folder.join(name));
    let subject = format!("/CN={common_name}");
    let mut arguments = vec!["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout"];
    arguments.extend([key.to_str().unwrap(), "-out", certificate.to_str().unwrap()]);
    arguments.extend(["-subj", &subject]);
    arguments.extend(["-days", "365"]);
    arguments.extend(change);
    run("openssl", &arguments, "").await.ok();
    let read = |path| std::fs::read_to_string(path).unwrap();
    (read(&certificate), read(&key))
}

/// The same, but from another day; `openssl req` makes none.
fn expired(common_name: &str) -> (String, String) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let name = &mut parameters.distinguished_name;
    name.push(rcgen::DnType::CommonName, common_name);
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.not_after = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// `openssl s_server`, which shows this certificate.
struct Server {
    port: u16,
    _child: Child,
}

impl Server {
    async fn start(folder: &Path, certificate: &str, key: &str, arguments: &[&str]) -> Self {
        let [key_file, crt_file] = ["s.key", "s.crt"].map(|name| folder.join(name));
        std::fs::write(&key_file, key).unwrap();
        std::fs::write(&crt_file, certificate).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &port.to_string()])
            .arg("-cert")
            .arg(&crt_file)
            .arg("-key")
            .arg(&key_file)
            .args(arguments)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                return Self {
                    port,
                    _child: child,
                };
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("openssl s_server does not listen");
    }
}

/// A signer that trusts `trusted`, with the authority of that name and key.
async fn signer(authority: &(String, String), trusted: &str) -> Jwtproxy {
    let files = [
        ("service.key", TestSigner::SERVICE_PRIVATE_PEM),
        ("ca.crt", &authority.0),
        ("ca.key", &authority.1),
        ("server.crt", trusted),
    ];
    Jwtproxy::start(SIGNER, &files, &[]).await
}

/// The status, or what the signer says.
async fn status(signer: &Jwtproxy, url: &str) -> String {
    let proxy = format!("http://{}", signer.signer.unwrap());
    let authority = signer.folder().join("ca.crt");
    let arguments = ["-w", "%{http_code}", url];
    let said = curl(&proxy, authority.to_str().unwrap(), &arguments).await;
    let (text, code) = said.stdout.split_at(said.stdout.len().saturating_sub(3));
    match code {
        "200" => code.to_owned(),
        _ => format!("{code} {text} {}", said.stderr),
    }
}

fn test_authority() -> (String, String) {
    let authority = jwtproxy_tests::authority::TestAuthority::new("the signer's authority");
    (authority.certificate(), authority.key())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_from_the_documentation_is_trusted_by_its_common_name() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = openssl_req(folder.path(), "localhost", &[]).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(folder.path(), &certificate, &key, &[version]).await;
        let signer = signer(&test_authority(), &certificate).await;
        let url = |host: &str| format!("https://{host}:{}/", server.port);
        assert_eq!(status(&signer, &url("localhost")).await, "200");
        let refused = status(&signer, &url("127.0.0.1")).await;
        assert!(refused.contains("NotValidForName"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_of_another_name_time_or_key_is_refused() {
    let folder = TempDir::new().unwrap();
    for (name, change, expected) in [
        ("other", &[][..], "NotValidForName"),
        (
            "localhost",
            &["-addext", "subjectAltName=DNS:other"],
            "not valid for name",
        ),
    ] {
        let (certificate, key) = openssl_req(folder.path(), name, change).await;
        let server = Server::start(folder.path(), &certificate, &key, &[]).await;
        let signer = signer(&test_authority(), &certificate).await;
        let refused = status(&signer, &format!("https://localhost:{}/", server.port)).await;
        assert!(
            refused.starts_with("502") && refused.contains(expected),
            "{refused}"
        );
    }
    let (certificate, key) = expired("localhost");
    let server = Server::start(folder.path(), &certificate, &key, &[]).await;
    let client = signer(&test_authority(), &certificate).await;
    let refused = status(&client, &format!("https://localhost:{}/", server.port)).await;
    assert!(refused.contains("xpired"), "{refused}");
    let (pinned, _) = openssl_req(folder.path(), "localhost", &[]).await;
    let (certificate, key) = openssl_req(folder.path(), "localhost", &[]).await;
    let server = Server::start(folder.path(), &certificate, &key, &[]).await;
    let signer = signer(&test_authority(), &pinned).await;
    let refused = status(&signer, &format!("https://localhost:{}/", server.port)).await;
    assert!(refused.starts_with("502"), "{refused}");
}

/// `openssl x509 -req -signkey`, the other way of tutorials, makes version 1.
#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_of_version_1_is_trusted() {
    let folder = TempDir::new().unwrap();
    let (_, key) = openssl_req(folder.path(), "localhost", &[]).await;
    let [key_file, request] = ["key", "csr"].map(|name| folder.path().join(name));
    let (key_file, request) = (key_file.to_str().unwrap(), request.to_str().unwrap());
    let subject = [
        "req",
        "-new",
        "-key",
        key_file,
        "-subj",
        "/CN=localhost",
        "-out",
        request,
    ];
    run("openssl", &subject, "").await.ok();
    let sign = [
        "x509", "-req", "-in", request, "-signkey", key_file, "-days", "9",
    ];
    let certificate = run("openssl", &sign, "").await.ok();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(folder.path(), &certificate, &key, &[version]).await;
        let signer = signer(&test_authority(), &certificate).await;
        let url = format!("https://localhost:{}/", server.port);
        assert_eq!(status(&signer, &url).await, "200", "{version}");
    }
}

/// In ways that people write PEM.
fn written(pem: &str) -> Vec<String> {
    vec![
        pem.replace(['\r', '\n'], ""),
        pem.replace('\n', " \r\n\r\n"),
        format!("\u{feff}Bag Attributes\n  friendlyName: x\n{pem}\ntext"),
        pem.replace('\n', "\\n"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signer_reads_keys_and_certificates_however_they_are_written() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = openssl_req(folder.path(), "localhost", &[]).await;
    let server = Server::start(folder.path(), &certificate, &key, &[]).await;
    let (ca_crt, ca_key) = test_authority();
    let service = TestSigner::SERVICE_PRIVATE_PEM;
    let all = [&ca_crt, &ca_key, &certificate, service].map(written);
    let [ca_crts, ca_keys, certificates, services] = &all;
    for way in 0..ca_crts.len() {
        let files = [
            ("ca.crt", ca_crts[way].as_str()),
            ("ca.key", &ca_keys[way]),
            ("server.crt", &certificates[way]),
            ("service.key", &services[way]),
            ("clients.crt", &ca_crt),
        ];
        let signer = Jwtproxy::start(SIGNER, &files, &[]).await;
        let authority = signer.folder().join("clients.crt");
        let proxy = format!("http://{}", signer.signer.unwrap());
        let url = format!("https://localhost:{}/", server.port);
        let arguments = ["-o", "/dev/null", "-w", "%{http_code}", &url];
        let said = curl(&proxy, authority.to_str().unwrap(), &arguments)
            .await
            .ok();
        assert_eq!(said, "200", "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_reads_keys_and_certificates_however_they_are_written() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    key_file: "$DIR/server.key"
    crt_file: "$DIR/server.crt"
    verifier:
      upstream: "http://{}/"
      audience: {AUDIENCE}
      key_server:
        type: preshared
        options: {{issuer: svc, key_id: k1, public_key_path: "$DIR/service.pub"}}
"#,
        upstream.address(),
    );
    let ca = TestCa::new();
    let identity = ca.issue("api.example");
    let public = TestSigner::service().public_pem();
    let [keys, certificates, publics] =
        [&identity.key, &identity.certificate, &public].map(|pem| written(pem));
    for way in 0..keys.len() {
        let files = [
            ("server.key", keys[way].as_str()),
            ("server.crt", &certificates[way]),
            ("service.pub", &publics[way]),
            ("ca.pem", &ca.pem()),
        ];
        let jwtproxy = Jwtproxy::start(&yaml, &files, &[]).await;
        let authority = jwtproxy.folder().join("ca.pem");
        let port = jwtproxy.verifiers[0].port();
        let resolve = format!("api.example:{port}:127.0.0.1");
        let bearer = format!("Authorization: Bearer {}", tokens::good());
        let url = format!("https://api.example:{port}/");
        let arguments = [
            "--cacert",
            authority.to_str().unwrap(),
            "--resolve",
            &resolve,
        ];
        let answer = direct_curl(&[&arguments[..], &["--header", &bearer, &url]].concat()).await;
        assert!(
            answer.outcome.ends_with("200"),
            "{way}: {} {}",
            answer.outcome,
            answer.stderr
        );
    }
}

/// docs/signer.md, "An authority that all clients trust".
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_authority_satisfies_strict_clients_and_a_poor_one_is_warned_of() {
    let documentation = include_str!("../../docs/signer.md");
    let extension = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    assert!(documentation.contains(&extension.join(" ")));
    let folder = TempDir::new().unwrap();
    let (certificate, key) = openssl_req(folder.path(), "localhost", &[]).await;
    let server = Server::start(folder.path(), &certificate, &key, &[]).await;
    let program = r#"
import http.client, ssl, sys
port, target, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.verify_flags |= ssl.VERIFY_X509_STRICT
connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=context, timeout=20)
connection.set_tunnel("localhost", int(target))
connection.request("GET", "/")
print(connection.getresponse().status)
"#;
    for (extension, expected) in [(&extension[..], "200"), (&[], "CERTIFICATE_VERIFY_FAILED")] {
        let authority = openssl_req(folder.path(), "jwtproxy authority", extension).await;
        let signer = signer(&authority, &certificate).await;
        let file = signer.folder().join("ca.crt");
        let proxy = signer.signer.unwrap().port().to_string();
        let arguments = [&proxy, &server.port.to_string(), file.to_str().unwrap()];
        let said = python(program, &arguments).await;
        assert!(format!("{said:?}").contains(expected), "{said:?}");
        let is_warned = signer
            .log()
            .contains("WARN signer_proxy: the authority in ca_crt_file has");
        assert_eq!(is_warned, extension.is_empty(), "{}", signer.log());
    }
}
