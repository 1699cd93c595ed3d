//! What is typed on the command line, turned into what is meant: sizes, durations,
//! addresses and hashes, each with an error that shows how it should look.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::limits::MIN_PREFIX_DIGITS;
use crate::protocol::DedupMode;

/// A number with an optional one-letter unit out of `units`, scaled and rounded down.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let scale = if unit.is_empty() { 1 } else { units.iter().find(|(name, _)| *name == unit)?.1 };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let value = number.parse::<f64>().ok()? * scale as f64;
    // Beyond 2^53 a fraction has no meaning left.
    (value.is_finite() && value < 9e15).then_some(value as u64)
}

/// The largest unit that divides `value` without a rest.
fn in_units(value: u64, units: &[(&'static str, u64)]) -> String {
    let fits = units.iter().filter(|(_, scale)| value != 0 && value.is_multiple_of(*scale));
    match fits.max_by_key(|(_, scale)| *scale) {
        Some((unit, scale)) => format!("{}{}", value / scale, unit.to_ascii_uppercase()),
        None => value.to_string(),
    }
}

/// Bytes: `512M`, `1.5G`, `64MiB`, `1000000`. Units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 13] = [
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("tb", 1 << 40),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let value = scaled(text, &BYTE_UNITS).ok_or("not a size: write it like 512M or 2G")?;
        if value < 1 << 20 { Err("too small: at least 1M".to_owned()) } else { Ok(Self(value)) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, &BYTE_UNITS[..4]))
    }
}

/// A share of the copies: a size, or 0 for none.
///
/// # Errors
/// How it should look.
pub fn capacity(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { text.parse::<ByteSize>().map(|size| size.0) }
}

/// Pixels: `200M` (million), `40000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels(pub u64);

const PIXEL_UNITS: [(&str, u64); 3] = [("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000)];

impl FromStr for Pixels {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match scaled(text, &PIXEL_UNITS) {
            Some(0) => Err("too small: no picture has so few pixels".to_owned()),
            Some(value) => Ok(Self(value)),
            None => Err("not a number of pixels: write it like 200M (million) or 40000000".to_owned()),
        }
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0, &PIXEL_UNITS))
    }
}

/// A length of time: `30s`, `10m`, `2h`, `1d`; a bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A year: far beyond any use, and no sum with a clock overflows.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.ends_with(|c: char| c.is_ascii_digit());
        let millis = if bare { scaled(&format!("{text}s"), &TIME_UNITS) } else { scaled(text, &TIME_UNITS) };
        let span = Duration::from_millis(millis.ok_or("not a length of time: write it like 30s, 10m or 2h")?);
        if span < Duration::from_millis(100) || span > LONGEST {
            return Err("must be between 100ms and 365d".to_owned());
        }
        Ok(Self(span))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_units(self.0.as_millis() as u64, &TIME_UNITS).to_ascii_lowercase())
    }
}

/// What a node does with duplicates: `trash`, `report` or `off`.
#[must_use]
pub fn dedup_mode() -> impl TypedValueParser<Value = DedupMode> {
    let words = [
        ("trash", "moves them to the trash, when the better version is proved to be there"),
        ("report", "lists them (`p2pimg client duplicates`), and drops nothing"),
        ("off", "looks for none"),
    ];
    let parser = PossibleValuesParser::new(words.map(|(word, help)| PossibleValue::new(word).help(help)));
    parser.map(|word| match word.as_str() {
        "trash" => DedupMode::Trash,
        "report" => DedupMode::Report,
        _ => DedupMode::Off,
    })
}

/// Days in the trash: a day to a hundred years.
#[must_use]
pub fn trash_days() -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

/// An address to listen on: `/ip4/0.0.0.0/tcp/4011`; port 0 is any free one.
///
/// # Errors
/// One line that shows how it should look.
pub fn listen_address(text: &str) -> Result<Multiaddr, String> {
    let (address, peer) = address_of(text)?;
    if peer {
        return Err("an address to listen on has no /p2p/ part: leave it out".to_owned());
    }
    if is_name(&address) {
        return Err(format!("a node listens on an IP address: {EXAMPLE}"));
    }
    Ok(address)
}

/// An address to connect to: `/ip4/192.168.1.5/tcp/4011` or `/dns4/nas.example/tcp/4011`, with or
/// without `/p2p/PEER`, or `/dnsaddr/photos.example`.
///
/// # Errors
/// One line that shows how it should look.
pub fn dial_address(text: &str) -> Result<Multiaddr, String> {
    let (address, _) = address_of(text)?;
    if address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0))) {
        return Err("port 0 can't be connected to: give the port that the node printed".to_owned());
    }
    Ok(address)
}

const EXAMPLE: &str = "write it like /ip4/192.168.1.5/tcp/4011";

/// `/ip4|ip6|dns4|dns6|dns/HOST/tcp/PORT[/p2p/PEER]`, `/udp/PORT/quic-v1` in the place of
/// `/tcp/PORT`, or `/dnsaddr/NAME[/p2p/PEER]`, and whether it names the peer. Nothing else: an
/// address that no transport of this program speaks is better refused here, with a
/// reason, than later as "not supported".
fn address_of(text: &str) -> Result<(Multiaddr, bool), String> {
    if let Some(meant) = socket_as_multiaddr(text) {
        return Err(format!("not a multiaddress: write it as {meant}"));
    }
    let address: Multiaddr = text.parse().map_err(|_| format!("not a multiaddress: {EXAMPLE}"))?;
    let parts: Vec<_> = address.iter().collect();
    let (where_to, peer) = match parts.as_slice() {
        [rest @ .., Protocol::P2p(_)] => (rest, true),
        all => (all, false),
    };
    match where_to {
        [Protocol::Dnsaddr(_)] => Ok((address, peer)),
        [host, Protocol::Tcp(_)] | [host, Protocol::Udp(_), Protocol::QuicV1]
            if matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_))
                || matches!(host, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) =>
        {
            Ok((address, peer))
        }
        _ => Err(format!("not an IP address or name with a TCP port: {EXAMPLE}")),
    }
}

fn is_name(address: &Multiaddr) -> bool {
    !matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)))
}

/// What people type first: `192.168.1.5:4011`, or a bare IP address.
fn socket_as_multiaddr(text: &str) -> Option<Multiaddr> {
    let (ip, port) = match text.parse::<SocketAddr>() {
        Ok(socket) => (socket.ip(), socket.port()),
        Err(_) => (text.parse::<IpAddr>().ok()?, crate::node::config::DEFAULT_PORT),
    };
    Some(Multiaddr::from(ip).with(Protocol::Tcp(port)))
}

/// A hash as typed: 64 hexadecimal digits or the first 6 or more of them, and the same
/// after `c:` for a content. Held in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashQuery(String);

impl HashQuery {
    /// The text that the node resolves.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HashQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HashQuery {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let digits = lower.strip_prefix("c:").unwrap_or(&lower);
        if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(format!("'{}' is not a hexadecimal digit", wrong.escape_default()));
        }
        if !(MIN_PREFIX_DIGITS..=64).contains(&digits.len()) {
            let found = digits.len();
            return Err(format!(
                "a hash has 64 digits, of which the first {MIN_PREFIX_DIGITS} or more will do: this has {found}"
            ));
        }
        Ok(Self(lower))
    }
}

/// A picture to compare with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// One that is named by its hash.
    Hash(HashQuery),
    /// A file on this machine.
    File(PathBuf),
}

/// What reads like a hash is one, whatever files there are: the same line means the same in
/// every folder.
pub fn sample() -> impl TypedValueParser<Value = Sample> {
    PathBufValueParser::new().map(|path| match path.to_str().map(str::parse) {
        Some(Ok(hash)) => Sample::Hash(hash),
        _ => Sample::File(path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_and_shown_alike() {
        for (text, bytes) in
            [("512M", 512 << 20), ("1.5g", 3 << 29), ("64MiB", 64 << 20), ("2000000", 2_000_000)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
        assert_eq!(ByteSize(512 << 20).to_string(), "512M");
        for bad in ["", "M", "-5M", "5 apples", "1.2.3M", "99999999999999999T", "1e9", "nan", "12K"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_read_and_shown_alike() {
        for (text, secs) in [("10m", 600), ("30s", 30), ("45", 45), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_secs(), secs, "{text}");
        }
        assert_eq!("1.5s".parse::<Span>().unwrap().0.as_millis(), 1500);
        assert_eq!(Span(Duration::from_secs(600)).to_string(), "10m");
        for bad in ["", "m", "10 parsecs", "0", "0s", "400d", "99999999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pixels_are_counted_in_millions() {
        assert_eq!("200M".parse::<Pixels>().unwrap(), Pixels(200_000_000));
        assert_eq!(Pixels(200_000_000).to_string(), "200M");
        assert!("0".parse::<Pixels>().is_err());
    }

    #[test]
    fn addresses_say_how_they_should_look() {
        assert!(dial_address("/ip4/127.0.0.1/tcp/4011").is_ok());
        let peer = "/ip6/::1/tcp/4011/p2p/12D3KooWKSgATPWBTGcT8iNBEgyA7fjT8Ldp5KSTVmCPbdBGYAsf";
        assert!(dial_address(peer).is_ok());
        assert!(listen_address(peer).is_err());
        assert!(listen_address("/ip4/127.0.0.1/tcp/0").is_ok());
        assert!(dial_address("/ip4/127.0.0.1/tcp/0").is_err());
        let typed = dial_address("192.168.1.5:4012").unwrap_err();
        assert!(typed.contains("/ip4/192.168.1.5/tcp/4012"), "{typed}");
        assert!(dial_address("::1").unwrap_err().contains("/ip6/::1/tcp/4011"));
        for good in [
            "/dns4/nas.example/tcp/4011",
            "/dns6/nas.example/tcp/4011",
            "/dnsaddr/photos.example",
            "/ip4/192.0.2.1/udp/4011/quic-v1",
        ] {
            assert!(dial_address(good).is_ok(), "{good}");
        }
        assert!(listen_address("/ip6/::/udp/4011/quic-v1").is_ok());
        for name in ["/dns4/nas.example/tcp/4011", "/dnsaddr/photos.example"] {
            assert!(listen_address(name).unwrap_err().contains("IP address"), "{name}");
        }
        for bad in [
            "",
            "nas",
            "/ip4/300.1.1.1/tcp/1",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/5",
            "/tcp/4011",
            "ip4/1.2.3.4/tcp/1",
        ] {
            assert!(dial_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hashes_are_checked_before_anybody_is_asked() {
        for good in ["abcdef", "ABCDEF", "c:123456", &"0".repeat(64)] {
            assert!(good.parse::<HashQuery>().is_ok(), "{good}");
        }
        for bad in ["", "c:", "abcde", "xyzxyz", "c:12345", &"0".repeat(65), "c:c:123456", "abcdef\n"] {
            assert!(bad.parse::<HashQuery>().is_err(), "{bad}");
        }
        assert_eq!("C:ABCDEF".parse::<HashQuery>().unwrap().as_str(), "c:abcdef");
    }

    proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text: String) {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Span>();
            let _ = text.parse::<Pixels>();
            let _ = text.parse::<HashQuery>();
            let _ = dial_address(&text);
        }
    }
}
