//! Looking up names.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// How long an answer is used again where a request only asks which rule decides; each connection
/// looks its name up anew, and connects to the addresses that were checked.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// Answers that are kept at a time.
const MOST: usize = 1024;

/// Names that are looked up at a time: each takes a thread and a socket meanwhile.
const LOOK_UPS: usize = 64;

/// When it was given, and what it is.
type Answer = (Instant, Vec<SocketAddr>);

/// The system's resolver.
#[derive(Debug)]
pub(super) struct Resolver {
    look_ups: Semaphore,
    recent: Mutex<HashMap<(String, u16), Answer>>,
    #[cfg(test)]
    pub(super) fixed: HashMap<&'static str, std::sync::Mutex<io::Result<Vec<IpAddr>>>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            look_ups: Semaphore::new(LOOK_UPS),
            recent: Mutex::default(),
            #[cfg(test)]
            fixed: HashMap::new(),
        }
    }
}

impl Resolver {
    /// The addresses of a name or of a literal address, in brackets or not.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let inside = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let host = inside.unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address.to_canonical(), port)]);
        }
        #[cfg(test)]
        if let Some(fixed) = self.fixed.get(host) {
            return match &*fixed.lock().unwrap() {
                Ok(found) => Ok(found.iter().map(|&ip| SocketAddr::new(ip, port)).collect()),
                Err(error) => Err(error.kind().into()),
            };
        }
        let _turn = self.look_ups.acquire().await;
        Ok(lookup_host((host, port)).await?.collect())
    }

    /// The same, from an answer of the last seconds.
    pub(super) async fn look_up_recent(
        &self,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        let key = (host.to_ascii_lowercase(), port);
        let fresh = |at: &Instant| at.elapsed() < KEPT_FOR;
        if let Some((at, found)) = self.recent.lock().await.get(&key)
            && fresh(at)
        {
            return Ok(found.clone());
        }
        let found = self.look_up(host, port).await?;
        let mut recent = self.recent.lock().await;
        if recent.len() >= MOST {
            recent.retain(|_, (at, _)| fresh(at));
        }
        if recent.len() < MOST {
            recent.insert(key, (Instant::now(), found.clone()));
        }
        Ok(found)
    }
}

/// Whether an address is one of this machine's: of the loopback interface, or the one from which
/// the system would connect to it. Nothing is sent.
///
/// Where it cannot be found out, above all for want of a descriptor, it counts as one: clients could
/// use up the descriptors to get around a rule about this machine.
pub(super) fn is_local(address: SocketAddr) -> bool {
    is_local_by(address, |any| UdpSocket::bind((any, 0)))
}

fn is_local_by(address: SocketAddr, bind: impl FnOnce(IpAddr) -> io::Result<UdpSocket>) -> bool {
    let ip = address.ip().to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let Ok(socket) = bind(any) else {
        return true;
    };
    let source = || {
        // A port of 0 cannot be connected to.
        socket.connect(match address {
            SocketAddr::V6(mut address) if ip.is_ipv6() => {
                address.set_port(9);
                SocketAddr::V6(address)
            }
            _ => SocketAddr::new(ip, 9),
        })?;
        socket.local_addr()
    };
    source().is_ok_and(|source: SocketAddr| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_knows_its_addresses() {
        for text in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "[::1]:80",
            "0.0.0.0:80",
            "[::]:80",
        ] {
            assert!(is_local(text.parse().unwrap()), "{text}");
        }
        // Documentation addresses (RFC 5737, RFC 3849) are never assigned.
        for text in ["192.0.2.1:80", "[2001:db8::1]:80"] {
            assert!(!is_local(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn without_descriptors_any_address_may_be_this_machines() {
        let none = |_| Err(io::Error::from_raw_os_error(24));
        assert!(is_local_by("192.0.2.1:80".parse().unwrap(), none));
    }

    #[tokio::test]
    async fn addresses_are_not_looked_up() {
        let resolver = Resolver::default();
        for (host, address) in [
            ("192.0.2.1", "192.0.2.1:80"),
            ("[2001:db8::1]", "[2001:db8::1]:80"),
            ("[::ffff:192.0.2.1]", "192.0.2.1:80"),
        ] {
            let found = resolver.look_up(host, 80).await.unwrap();
            assert_eq!(found, [address.parse().unwrap()], "{host}");
        }
    }
}
