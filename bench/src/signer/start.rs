//! From the start to being ready.

use super::peer::{Settings, Signer};
use super::stage::Stage;
use crate::envoy_peer::free_address;
use crate::process::all_cores;
use crate::report::Report;

const STARTS: usize = 5;

/// Of a signer alone, and of a signer with a verifier, which is an Envoy with the filter.
pub(super) fn time(stage: &Stage, report: &mut Report) {
    eprintln!("Signer, {STARTS} starts");
    let key = jwt_core::testing::TestSigner::service().public_pem();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let public = folder.path().join("public.pem");
    std::fs::write(&public, key).expect("a file");
    let verifier = || {
        format!(
            r#"  verifier_proxies:
  - listen_addr: "{}"
    verifier:
      upstream: "http://{}"
      audience: "https://api.example"
      key_server:
        type: preshared
        options: {{issuer: svc, key_id: k1, public_key_path: "{}"}}
"#,
            free_address(),
            stage.plain_server(),
            public.display()
        )
    };
    for (who, beside) in [
        ("a signer", &String::new as &dyn Fn() -> String),
        ("a signer and a verifier, Envoy included", &verifier),
    ] {
        let mut times: Vec<_> = (0..STARTS)
            .map(|_| {
                let settings = Settings {
                    cores: &all_cores(),
                    key: &stage.p256,
                    signs: true,
                    trusted: stage.servers(),
                    beside: &beside(),
                };
                Signer::start(&settings).started_in()
            })
            .collect();
        times.sort();
        report.figures.push((
            format!("from start to ready: {who}, median of {STARTS}"),
            format!("{} ms", times[STARTS / 2].as_millis()),
        ));
    }
}
