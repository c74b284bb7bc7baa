use super::*;
use crate::policy::{Action, HostPattern, RegistryOrigin};
use std::net::IpAddr;
use std::sync::Mutex;

const REGISTRY: &str = "http://keys.test:8888/";

fn rule(host: &str, port: Option<u16>, action: Action) -> Rule {
    Rule {
        host: HostPattern::parse(host).unwrap(),
        port,
        action,
        beside_registry: false,
    }
}

fn reach(rules: Vec<Rule>, registry: Option<&str>) -> Reach {
    let mut policy = Policy::new(rules);
    if let Some(registry) = registry {
        policy.add_registry(RegistryOrigin::parse(registry).unwrap());
    }
    let own = OwnAddresses {
        proxy: Some("127.0.0.1:8080".parse().unwrap()),
        admin: Some("[::]:9901".parse().unwrap()),
    };
    Reach::new(policy, own, false)
}

impl Reach {
    fn with_name(mut self, name: &'static str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let found: Vec<IpAddr> = addresses.collect();
        self.resolver.fixed.insert(name, Mutex::new(Ok(found)));
        self
    }

    /// As a request is decided on and then connected for.
    async fn reached(&self, authority: &str) -> Result<Vec<String>, Barrier> {
        let uri: Uri = format!("http://{authority}/").parse().unwrap();
        let host = Host::parse(uri.host().unwrap()).unwrap();
        let port = port_of(&uri).unwrap();
        let decided = self.decide(uri.authority().unwrap(), &host, port).await?;
        let addresses = self.addresses(&uri, decided.route).await?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }
}

#[tokio::test]
async fn another_name_of_the_registry_is_recognised_by_its_address() {
    let reach = reach(Vec::new(), Some(REGISTRY))
        .with_name("keys.test", &["192.0.2.1", "2001:db8::1"])
        .with_name("alias.test", &["192.0.2.1"])
        .with_name("mapped.test", &["::ffff:192.0.2.1"])
        .with_name("nat64.test", &["64:ff9b::192.0.2.1"])
        .with_name("other.test", &["192.0.2.2"]);
    for alias in ["keys.test", "KEYS.test."] {
        let barrier = reach.reached(&format!("{alias}:8888")).await.unwrap_err();
        assert!(
            matches!(barrier, Barrier::Registry(_)),
            "{alias}: {barrier}"
        );
    }
    for alias in [
        "alias.test",
        "mapped.test",
        "nat64.test",
        "192.0.2.1",
        "[2001:db8::1]",
        "[::ffff:192.0.2.1]",
        "[64:ff9b::c000:201]",
    ] {
        let barrier = reach.reached(&format!("{alias}:8888")).await.unwrap_err();
        let recognised = matches!(barrier, Barrier::RegistryAddress(_));
        assert!(recognised, "{alias}: {barrier}");
        assert!(reach.reached(&format!("{alias}:8889")).await.is_ok());
    }
    assert_eq!(
        reach.reached("other.test:8888").await.unwrap(),
        ["192.0.2.2:8888"]
    );
}

#[tokio::test]
async fn of_several_addresses_those_of_the_registry_are_left_out() {
    let reach = reach(Vec::new(), Some(REGISTRY))
        .with_name("keys.test", &["192.0.2.1"])
        .with_name("both.test", &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        reach.reached("both.test:8888").await.unwrap(),
        ["192.0.2.2:8888"]
    );
}

#[tokio::test]
async fn all_addresses_of_this_machine_are_the_one_of_a_registry_here() {
    let reach = reach(Vec::new(), Some("http://here.test:8888"))
        .with_name("here.test", &["127.0.0.1"])
        .with_name("alias.test", &["127.5.5.5"]);
    for alias in ["alias.test", "localhost", "[::1]", "0.0.0.0", "127.9.9.9"] {
        let barrier = reach.reached(&format!("{alias}:8888")).await.unwrap_err();
        let recognised = matches!(barrier, Barrier::RegistryAddress(_));
        assert!(recognised, "{alias}: {barrier}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_the_registry_are_kept_while_it_cannot_be_looked_up() {
    let reach = reach(Vec::new(), Some(REGISTRY))
        .with_name("keys.test", &["192.0.2.1"])
        .with_name("alias.test", &["192.0.2.1"])
        .with_name("moved.test", &["192.0.2.7"]);
    assert!(reach.reached("alias.test:8888").await.is_err());
    let set = |found| *reach.resolver.fixed["keys.test"].lock().unwrap() = found;
    set(Err(io::ErrorKind::NotFound.into()));
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert!(reach.reached("alias.test:8888").await.is_err());
    set(Ok(vec!["192.0.2.7".parse().unwrap()]));
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert!(reach.reached("moved.test:8888").await.is_err());
    assert!(reach.reached("alias.test:8888").await.is_ok());
}

#[tokio::test]
async fn a_service_beside_the_registry_is_named_by_a_rule() {
    let beside = Rule {
        beside_registry: true,
        ..rule("api.test", None, Action::default())
    };
    let pass = rule("pass.test", None, Action::Pass);
    let reach = reach(vec![beside, pass], Some("https://keys.test"))
        .with_name("keys.test", &["192.0.2.1"])
        .with_name("api.test", &["192.0.2.1"])
        .with_name("pass.test", &["192.0.2.1"])
        .with_name("other.test", &["192.0.2.1"]);
    assert!(reach.reached("api.test:443").await.is_ok());
    assert!(reach.reached("pass.test:443").await.is_ok());
    assert!(reach.reached("other.test:443").await.is_err());
    assert!(reach.reached("other.test:80").await.is_err());
    assert!(reach.reached("keys.test:443").await.is_err());
}

#[tokio::test]
async fn a_denied_address_is_not_reached_by_any_name() {
    let rules = vec![
        rule("10.0.0.0/8", None, Action::Deny),
        rule("127.0.0.1", Some(5432), Action::Deny),
    ];
    let reach = reach(rules, None)
        .with_name("a.test", &["10.0.0.1"])
        .with_name("b.test", &["10.0.0.1", "192.0.2.1"])
        .with_name("here.test", &["127.0.0.1"])
        .with_name("unspecified.test", &["0.0.0.0"]);
    for denied in [
        "a.test",
        "10.0.0.1",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "here.test:5432",
        "unspecified.test:5432",
        "localhost:5432",
        "127.8.8.8:5432",
        "[::]:5432",
    ] {
        let barrier = reach.reached(denied).await.unwrap_err();
        assert!(matches!(barrier, Barrier::Denied), "{denied}: {barrier}");
    }
    assert_eq!(reach.reached("b.test").await.unwrap(), ["192.0.2.1:80"]);
    assert!(reach.reached("here.test:5433").await.is_ok());
}

#[tokio::test]
async fn a_rule_about_addresses_decides_for_the_names_that_lead_there() {
    let rules = vec![
        rule("192.0.2.0/24", None, Action::Pass),
        rule("*", None, Action::Deny),
    ];
    let reach = reach(rules, None)
        .with_name("a.test", &["192.0.2.1"])
        .with_name("b.test", &["198.51.100.1"]);
    let host = Host::parse("a.test").unwrap();
    let authority = Authority::from_static("a.test");
    let decided = reach.decide(&authority, &host, 80).await.unwrap();
    assert!(matches!(decided.permitted, Permitted::Pass));
    assert_eq!(decided.route, Route::ByAddress(0));
    assert_eq!(reach.reached("a.test").await.unwrap(), ["192.0.2.1:80"]);
    assert!(reach.reached("b.test").await.is_err());
    // A name that has moved since the decision is not connected to under another's rule.
    let moved = Uri::from_static("http://b.test/");
    assert!(reach.addresses(&moved, Route::ByAddress(0)).await.is_err());
}

#[tokio::test]
async fn own_listeners_and_link_local_addresses_are_reached_only_where_a_rule_names_them() {
    let closed = || {
        let rules = vec![
            rule("127.0.0.1", None, Action::default()),
            rule("0.0.0.0/0", None, Action::Pass),
            rule("*", None, Action::Pass),
        ];
        reach(rules, None)
            .with_name("metadata.test", &["169.254.169.254"])
            .with_name("admin.test", &["127.0.0.1"])
    };
    for (authority, expected) in [
        ("127.0.0.1:8080", "this proxy"),
        ("localhost:8080", "this proxy"),
        ("0.0.0.0:8080", "this proxy"),
        ("[::ffff:127.0.0.1]:8080", "this proxy"),
        ("admin.test:9901", "admin address"),
        ("127.0.0.1:9901", "admin address"),
        ("127.77.0.1:9901", "admin address"),
        ("[::1]:9901", "admin address"),
        ("[::]:9901", "admin address"),
        ("[::ffff:0.0.0.0]:9901", "admin address"),
        ("169.254.169.254", "link-local"),
        ("[::ffff:169.254.169.254]", "link-local"),
        ("[64:ff9b::a9fe:a9fe]", "link-local"),
        ("[fe80::1]", "link-local"),
        ("[fd00:ec2::254]", "link-local"),
        ("metadata.test", "link-local"),
    ] {
        let barrier = closed().reached(authority).await.unwrap_err().to_string();
        assert!(barrier.contains(expected), "{authority}: {barrier}");
    }
    // Where the proxy listens on one address, another server may have its port on another.
    assert!(closed().reached("127.0.0.2:8080").await.is_ok());
    let rules = vec![
        rule("localhost", Some(9901), Action::Pass),
        rule("127.0.0.1", Some(8080), Action::Pass),
        rule("169.254.169.254", Some(80), Action::Pass),
    ];
    let open = reach(rules, None).with_name("metadata.test", &["169.254.169.254"]);
    for named in [
        "localhost:9901",
        "127.0.0.1:8080",
        "169.254.169.254",
        "metadata.test",
    ] {
        assert!(open.reached(named).await.is_ok(), "{named}");
    }
    assert!(open.reached("169.254.169.254:81").await.is_err());
    assert!(open.reached("169.254.0.1").await.is_err());
}

#[tokio::test]
async fn with_a_parent_proxy_names_are_not_looked_up() {
    let mut policy = Policy::new(vec![rule("192.0.2.0/24", None, Action::Pass)]);
    policy.add_registry(RegistryOrigin::parse(REGISTRY).unwrap());
    let reach =
        Reach::new(policy, OwnAddresses::default(), true).with_name("keys.test", &["198.51.100.1"]);
    let decide = async |authority: &'static str| {
        let authority = Authority::from_static(authority);
        let host = Host::parse(authority.host()).unwrap();
        let port = authority.port_u16().unwrap_or(80);
        let decided = reach.decide(&authority, &host, port).await;
        decided.map(|decided| decided.route)
    };
    assert_eq!(decide("nowhere.invalid").await.unwrap(), Route::ByName);
    assert!(decide("keys.test:8888").await.is_err());
    assert!(decide("198.51.100.1:8888").await.is_err());
    assert!(decide("169.254.169.254").await.is_err());
}
