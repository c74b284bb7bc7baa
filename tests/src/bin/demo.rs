//! `make demo`: the main job on real input, shown step by step.
//!
//! A key registry, a verifier (Envoy with the filter), a signer and a small upstream are started;
//! curl sends requests through them. Whatever differs from what is told ends it with status 1.

use jwt_core::testing::TestSigner;
use jwtproxy_tests::certificates::TestCa;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use serde_json::Value;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use tokio::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let keep = std::env::args().any(|argument| argument == "--keep");
    match run(keep).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demonstration has failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(keep: bool) -> Result<()> {
    let stage = Stage::set().await?;
    stage.introduce();
    let token = stage.signed_request_is_accepted().await?;
    stage.request_without_token_is_refused().await?;
    stage.replay_is_refused(&token).await?;
    stage.forgery_is_refused().await?;
    stage.https_request_is_signed_inside_its_tunnel().await?;
    stage.https_request_without_token_is_refused().await?;
    println!("\nAll six were as they should be.");
    if keep {
        stage.keep_running().await?;
    }
    Ok(())
}

/// Everything that plays a part.
struct Stage {
    upstream: Upstream,
    registry: TestRegistry,
    jwtproxy: Jwtproxy,
    signer: SocketAddr,
    verifier: SocketAddr,
    secure_verifier: SocketAddr,
}

/// What curl got.
struct Answer {
    status: String,
    body: String,
}

impl Stage {
    async fn set() -> Result<Self> {
        let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
        // The verifiers' addresses are also their audiences, so they have to be known before.
        let reserved = [
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        ];
        let [verifier, secure_verifier] = [reserved[0].local_addr()?, reserved[1].local_addr()?];
        drop(reserved);
        let yaml = configuration(verifier, secure_verifier, &upstream, &registry);
        println!("The configuration, as `jwtproxy -config config.yaml` takes it:\n{yaml}");
        println!("Starting the key registry, the upstream, the signer and Envoy ...");
        let ca = TestCa::new();
        let identity = ca.issue("127.0.0.1");
        let files = [
            ("my-service.key", TestSigner::SERVICE_PRIVATE_PEM),
            ("ca.key", &ca.key_pem()),
            ("ca.crt", &ca.pem()),
            ("verifier.key", &identity.key),
            ("verifier.crt", &identity.certificate),
        ];
        let jwtproxy = Jwtproxy::start(&yaml, &files, &[]).await;
        let signer = jwtproxy.signer.ok_or("the signer does not run")?;
        Ok(Self {
            upstream,
            registry,
            jwtproxy,
            signer,
            verifier,
            secure_verifier,
        })
    }

    fn introduce(&self) {
        println!("\n   client -> signer -> Envoy with the jwtproxy filter -> upstream\n");
        println!("   signer        {}", self.signer);
        println!(
            "   verifier      {}, with TLS {}",
            self.verifier, self.secure_verifier
        );
        println!("   upstream      {}", self.upstream.address());
        println!("   key registry  {}", self.registry.url());
    }

    async fn signed_request_is_accepted(&self) -> Result<String> {
        step(
            1,
            "a request through the signer arrives with a token that the verifier accepts",
        );
        let proxy = format!("http://{}", self.signer);
        let answer = self.curl(&["--proxy", &proxy], "/hello").await?;
        expect(&answer, "200", "/hello")?;
        let received: Value = serde_json::from_str(&answer.body)?;
        let token = token_in(&received).ok_or("the upstream received no token")?;
        println!("   The upstream received:\n{}", indented(&answer.body));
        println!(
            "   The token says:\n{}",
            indented(&format!("{:#}", claims_of(&token)?))
        );
        Ok(token)
    }

    async fn request_without_token_is_refused(&self) -> Result<()> {
        step(
            2,
            "the same request straight to the verifier, without a token",
        );
        let answer = self.curl(&[], "/hello").await?;
        expect(&answer, "403", "no token")
    }

    async fn replay_is_refused(&self, token: &str) -> Result<()> {
        step(3, "the token of the first request once more");
        let answer = self.curl(&["--header", &bearer(token)], "/hello").await?;
        expect(&answer, "403", "used before")
    }

    async fn forgery_is_refused(&self) -> Result<()> {
        step(
            4,
            "a fresh token that somebody else has signed in the service's name",
        );
        let mut claims = tokens::good_claims();
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("aud".into(), format!("http://{}", self.verifier).into());
        }
        let token = TestSigner::stranger().sign(&claims);
        let answer = self.curl(&["--header", &bearer(&token)], "/hello").await?;
        expect(&answer, "403", "signature does not match")
    }

    async fn https_request_is_signed_inside_its_tunnel(&self) -> Result<()> {
        step(
            5,
            "HTTPS: the signer reads the inside of the tunnel; the verifier terminates TLS",
        );
        let proxy = format!("http://{}", self.signer);
        let (ca, url) = (
            self.ca_file(),
            format!("https://{}/hello", self.secure_verifier),
        );
        let answer = self
            .curl_url(&["--proxy", &proxy, "--cacert", &ca], &url)
            .await?;
        expect(&answer, "200", "authorization: Bearer")
    }

    async fn https_request_without_token_is_refused(&self) -> Result<()> {
        step(6, "the same straight to the verifier, without a token");
        let (ca, url) = (
            self.ca_file(),
            format!("https://{}/hello", self.secure_verifier),
        );
        let answer = self.curl_url(&["--cacert", &ca], &url).await?;
        expect(&answer, "403", "no token")
    }

    fn ca_file(&self) -> String {
        self.jwtproxy.folder().join("ca.crt").display().to_string()
    }

    async fn curl(&self, options: &[&str], path: &str) -> Result<Answer> {
        self.curl_url(options, &format!("http://{}{path}", self.verifier))
            .await
    }

    async fn curl_url(&self, options: &[&str], url: &str) -> Result<Answer> {
        println!(
            "   $ curl {}{url}",
            options.iter().copied().map(shown).collect::<String>()
        );
        let output = Command::new("curl")
            // Nothing of the user's own settings, and no proxy for what goes to the loopback.
            .args([
                "--disable",
                "--noproxy",
                "",
                "--silent",
                "--show-error",
                "--max-time",
                "30",
            ])
            .args(["--write-out", "\n%{http_code}"])
            .args(options)
            .arg(url)
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .env_remove("HTTPS_PROXY")
            .env_remove("all_proxy")
            .env_remove("ALL_PROXY")
            .output()
            .await
            .map_err(|error| format!("curl cannot be started ({error}); install curl"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let (body, status) = text.rsplit_once('\n').ok_or("curl said nothing")?;
        Ok(Answer {
            status: status.to_owned(),
            body: body.to_owned(),
        })
    }

    async fn keep_running(&self) -> Result<()> {
        println!(
            "\nEverything keeps running until Ctrl-C. For example:\n\
             \x20  curl --proxy http://{} http://{}/any/path\n\
             \x20  curl -i http://{}/any/path\n\
             \x20  curl --proxy http://{} --cacert {} https://{}/any/path\n\
             \x20  curl {}services/svc/keys/k1\n\
             The files are in {}.",
            self.signer,
            self.verifier,
            self.verifier,
            self.signer,
            self.ca_file(),
            self.secure_verifier,
            self.registry.url(),
            self.jwtproxy.folder().display(),
        );
        tokio::signal::ctrl_c().await?;
        println!();
        Ok(())
    }
}

fn configuration(
    verifier: SocketAddr,
    secure_verifier: SocketAddr,
    upstream: &Upstream,
    registry: &TestRegistry,
) -> String {
    let (upstream, registry) = (upstream.address(), registry.url());
    format!(
        r#"
  jwtproxy:
    signer_proxy:
      listen_addr: "127.0.0.1:0"
      ca_key_file: "$DIR/ca.key"
      ca_crt_file: "$DIR/ca.crt"
      trusted_certificates: ["$DIR/ca.crt"]
      signer:
        issuer: svc
        private_key:
          type: preshared
          options: {{key_id: k1, private_key_path: "$DIR/my-service.key"}}
    verifier_proxies:
    - listen_addr: "{verifier}"
      verifier:
        upstream: "http://{upstream}/"
        audience: "http://{verifier}"
        key_server: {{type: keyregistry, options: {{registry: "{registry}"}}}}
    - listen_addr: "{secure_verifier}"
      key_file: "$DIR/verifier.key"
      crt_file: "$DIR/verifier.crt"
      verifier:
        upstream: "http://{upstream}/"
        audience: "https://{secure_verifier}"
        key_server: {{type: keyregistry, options: {{registry: "{registry}"}}}}
"#
    )
}

fn step(number: u8, what: &str) {
    println!("\n{number}. {what}");
}

fn expect(answer: &Answer, status: &str, words: &str) -> Result<()> {
    let Answer {
        status: found,
        body,
    } = answer;
    if found != status || !body.contains(words) {
        let wanted = format!("expected {status} with {words:?}, got {found}: {body}");
        return Err(wanted.into());
    }
    let outcome = if status == "200" {
        "accepted"
    } else {
        body.trim_end()
    };
    println!("   -> {status} {outcome}");
    Ok(())
}

/// The token, if there is exactly one.
fn token_in(received: &Value) -> Option<String> {
    let headers = received.get("headers")?.as_array()?;
    let mut tokens = headers
        .iter()
        .filter_map(|field| field.as_str()?.strip_prefix("authorization: Bearer "));
    let token = tokens.next()?;
    tokens.next().is_none().then(|| token.to_owned())
}

fn claims_of(token: &str) -> Result<Value> {
    let token = jwt_core::token::Token::parse(token)?;
    Ok(serde_json::from_slice(token.payload())?)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// An argument as a shell takes it; of a token, only the beginning.
fn shown(argument: &str) -> String {
    match argument.split_once("Bearer ") {
        Some((before, token)) => {
            format!(
                "'{before}Bearer {}...' ",
                token.chars().take(12).collect::<String>()
            )
        }
        None => format!("{argument} "),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("     {line}\n")).collect()
}
