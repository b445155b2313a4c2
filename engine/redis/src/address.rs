//! Where a Redis is.

use crate::RedisError;
use std::fmt;
use std::str::FromStr;

/// What an address begins with.
const SCHEME: &str = "redis://";
/// The port of an address without one: that of Redis, not that of the original.
const PORT: u16 = 6379;

/// Where a Redis is, and what it wants to be shown. Neither `Display` nor `Debug` shows secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Empty: the user that everybody is who says nothing about it.
    pub user: String,
    /// Empty: none.
    pub password: String,
    /// Which of its databases.
    pub db: u32,
}

impl RedisAddress {
    /// With everything that is needed to connect.
    pub(crate) fn url(&self) -> String {
        let auth = match (self.user.as_str(), self.password.as_str()) {
            ("", "") => String::new(),
            (user, password) => format!("{}:{}@", encode(user), encode(password)),
        };
        let Self { port, db, .. } = self;
        format!("{SCHEME}{auth}{}:{port}/{db}", self.bracketed())
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for RedisAddress {
    type Err = RedisError;

    /// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`. What would have to be written as `%40`
    /// in a password may also be written as it is.
    fn from_str(text: &str) -> Result<Self, RedisError> {
        let fail = |why| RedisError::Address { text: without_secrets(text), why };
        let Some(rest) = text.strip_prefix(SCHEME) else {
            let is_encrypted = text.starts_with("rediss://");
            return Err(fail(if is_encrypted {
                "encryption is not supported, so put a tunnel before it"
            } else {
                "it does not begin with redis://"
            }));
        };
        let (auth, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = auth.split_once(':').unwrap_or((auth, ""));
        let (place, db) = place.split_once('/').unwrap_or((place, ""));
        let db = match db.trim_end_matches('/') {
            "" => 0,
            db => db.parse().map_err(|_| fail("what follows the / is no number of a database"))?,
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| fail("a ] is missing"))?;
                (host, rest.strip_prefix(':').unwrap_or(rest))
            }
            None => place.rsplit_once(':').unwrap_or((place, "")),
        };
        if host.is_empty() {
            return Err(fail("it names no host"));
        }
        let port = match port {
            "" => PORT,
            port => port.parse().map_err(|_| fail("what follows the host is no port"))?,
        };
        let (user, password) = (decode(user), decode(password));
        Ok(Self { host: host.to_owned(), port, user, password, db })
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:{}/{}", self.bracketed(), self.port, self.db)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address for a message, which others may see.
fn without_secrets(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, place)) => format!("{SCHEME}...@{place}"),
        None => text.to_owned(),
    }
}

/// Writes what could be taken for a part of an address as its code.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// Reads it back. A % without a code after it stands for itself.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let code = code.and_then(|code| str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> RedisAddress {
        text.parse().expect(text)
    }

    #[test]
    fn what_is_left_out_has_the_defaults_of_redis() {
        let bare = address("redis://node0");
        assert_eq!((bare.host.as_str(), bare.port, bare.db), ("node0", 6379, 0));
        assert_eq!((bare.user.as_str(), bare.password.as_str()), ("", ""));
        let whole = address("redis://me:secret@node0:6400/3");
        assert_eq!((whole.host.as_str(), whole.port, whole.db), ("node0", 6400, 3));
        assert_eq!((whole.user.as_str(), whole.password.as_str()), ("me", "secret"));
        assert_eq!(address("redis://[::1]:6400").host, "::1");
        assert_eq!(address("redis://[::1]").port, 6379);
    }

    #[test]
    fn a_password_of_any_characters_comes_through_and_is_not_shown() {
        let strange = "p@ss:w/o%rd é";
        let made = RedisAddress { password: strange.to_owned(), ..address("redis://node0:6400") };
        assert_eq!(address(&made.url()), made);
        assert_eq!(address("redis://:a@b/c@node0/2").password, "a@b/c");
        for shown in [made.to_string(), format!("{made:?}")] {
            assert_eq!(shown, "redis://node0:6400/0");
        }
        let error = "redis://:secret@node0/x".parse::<RedisAddress>().expect_err("no database");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("node0:6400", "begin with redis://"),
            ("rediss://node0", "encryption"),
            ("redis://", "no host"),
            ("redis://node0:port", "no port"),
            ("redis://node0/db", "no number"),
            ("redis://[::1", "]"),
        ] {
            let error = text.parse::<RedisAddress>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
