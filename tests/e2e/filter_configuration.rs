use envoy::Limits;
use envoy::bootstrap::{Files, bootstrap};
use envoy::verifier::{HttpUrl, KeyServer, ListenAddress, SocketAddress, Upstream, VerifierProxy};
use jwt_core::audience::Audience;
use jwt_core::config::filter::Cache;
use jwt_core::config::verifier::{Access, NonceStorage, Rules};
use jwt_core::handover::Handover;
use jwt_core::policy::Policy;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::time::Duration;
use transport::descriptors::DescriptorLimit;

fn verifier() -> VerifierProxy {
    VerifierProxy {
        listen: ListenAddress::Tcp(SocketAddress {
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 0,
        }),
        certificate: None,
        shutdown_timeout: Duration::ZERO,
        upstream: Upstream::parse("http://127.0.0.1:1/").unwrap(),
        rules: Rules {
            policy: Policy::new(Audience::new("x")),
            nonce_storage: NonceStorage::Void,
            access: Access::default(),
            handover: Handover::default(),
        },
        key_server: KeyServer::Keyregistry {
            url: HttpUrl::parse("http://127.0.0.1:1/").unwrap(),
            cache: Cache {
                duration: Duration::ZERO,
                stale_if_error: Duration::ZERO,
            },
        },
    }
}

/// Starts Envoy on a bootstrap whose filter has this configuration; it must end by itself.
fn run_envoy(configuration: &Value) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let filter_wasm = folder.path().join("filter.wasm");
    std::fs::write(&filter_wasm, envoy::FILTER_WASM).unwrap();
    let admin_socket = folder.path().join("admin.sock");
    let files = Files {
        filter_wasm: &filter_wasm,
        admin_socket: &admin_socket,
        secrets: folder.path(),
        ca_bundle: None,
        shared_data_secret: None,
    };
    let limits = Limits::new(DescriptorLimit::raise(), 1, 1);
    let mut tree = bootstrap(&[verifier()], files, limits).unwrap();
    let pointer = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config\
                   /http_filters/0/typed_config/config/configuration";
    *tree.pointer_mut(pointer).unwrap() = configuration.clone();
    let path = folder.path().join("bootstrap.json");
    std::fs::write(&path, tree.to_string()).unwrap();
    let mut command = Command::new(envoy::locate().unwrap());
    command.arg("--config-path").arg(&path).args([
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "-l",
        "warning",
    ]);
    // What it accepts it would run for ever.
    Command::new("timeout")
        .arg("60")
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .unwrap()
}

fn struct_value(configuration: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
}

fn string_value(configuration: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration})
}

#[test]
fn envoy_refuses_a_wrong_configuration_and_says_why() {
    for (configuration, words) in [
        (string_value("{"), vec!["the configuration is not JSON"]),
        (string_value(""), vec!["the filter has no configuration"]),
        (
            struct_value(&json!({"audiance": "https://api", "max_ttl": 5})),
            vec![
                "audience: missing: this key is required",
                "audiance: unknown key; did you mean \"audience\"?",
                "max_ttl: found 5",
                "key_server.type: missing",
            ],
        ),
    ] {
        let output = run_envoy(&configuration);
        let log = String::from_utf8_lossy(&output.stderr);
        // 124 is `timeout` giving up: Envoy has accepted the configuration.
        assert!(
            !matches!(output.status.code(), Some(0 | 124)),
            "{:?}\n{log}",
            output.status
        );
        for words in words {
            assert!(log.contains(words), "{words:?} is not in\n{log}");
        }
    }
}
