//! Where a shard listens.

use super::TextError;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Longest path of a Unix socket in bytes: `sun_path` has 108 and the last one is zero.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// Where a shard listens. Its text forms are `127.0.0.1:7101` and `unix:/run/punctual/0.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `host:port`, resolved when it is used. Port 0 lets the system choose: useful only to a
    /// program that hands the chosen port on.
    Tcp(String),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether both ends are surely on one machine: a Unix socket, `localhost` or a loopback
    /// address. Decided from the text alone; other host names are not resolved.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(text) => {
                let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// Whether two shards may both have this address: the system gives each another port.
    pub(super) fn may_repeat(&self) -> bool {
        matches!(self, Self::Tcp(text) if text.ends_with(":0"))
    }

    /// Checks the form, for addresses that did not come from a text.
    pub(super) fn check(&self) -> Result<(), TextError> {
        let problem = match self {
            Self::Tcp(text) => tcp_problem(text),
            Self::Unix(path) if path.as_os_str().is_empty() => {
                Some("has no path; write it as unix:/run/punctual/0.sock".to_owned())
            }
            Self::Unix(path) if path.as_os_str().len() > UNIX_PATH_BYTES_MAX => Some(format!(
                "is a socket path of {} bytes; the system allows {UNIX_PATH_BYTES_MAX}",
                path.as_os_str().len()
            )),
            Self::Unix(_) => None,
        };
        problem.map_or(Ok(()), |problem| Err(TextError(problem)))
    }
}

/// What is wrong with `host:port`, if anything is.
fn tcp_problem(text: &str) -> Option<String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some("has no port; write host:port or unix:/path".to_owned());
    };
    if port.parse::<u16>().is_err() {
        return Some(format!("has the port \"{port}\", which is not a number up to 65535"));
    }
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Some("has no usable host; write host:port or unix:/path".to_owned());
    }
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ipv6 = in_brackets.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    if host.contains([':', '[', ']']) && !ipv6 {
        return Some("is not clear; write an IPv6 address in brackets: [::1]:7101".to_owned());
    }
    None
}

impl FromStr for Address {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let address = match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(PathBuf::from(path)),
            None => Self::Tcp(text.to_owned()),
        };
        address.check()?;
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => f.write_str(text),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_read_back_as_they_are_shown() {
        let texts = ["127.0.0.1:7101", "shard-0.example:80", "[::1]:7101", "unix:/run/p/0.sock"];
        for text in texts {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_addresses_say_what_is_missing() {
        let cases = [
            ("localhost", "has no port"),
            ("localhost:http", "\"http\""),
            ("localhost:65536", "\"65536\""),
            (":7101", "no usable host"),
            ("a b:7101", "no usable host"),
            ("::1:7101", "in brackets"),
            ("[::g]:7101", "in brackets"),
            ("unix:", "has no path"),
        ];
        for (text, part) in cases {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text} gave: {error}");
        }
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_BYTES_MAX));
        assert!(long.parse::<Address>().unwrap_err().to_string().contains("108 bytes"));
    }

    #[test]
    fn only_loopback_and_unix_addresses_are_local() {
        for text in ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:a.sock"] {
            assert!(text.parse::<Address>().unwrap().is_local(), "{text}");
        }
        for text in ["10.0.0.1:1", "localhost.example:1", "[2001:db8::1]:1"] {
            assert!(!text.parse::<Address>().unwrap().is_local(), "{text}");
        }
    }
}
