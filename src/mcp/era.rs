//! Detection of the era of each side from its messages, without asking it.

use super::compose::meta;
use super::json;
use super::message::{Kind, Message};
use super::method::Direction;
use super::revision::Era;

/// The era and version that one side has shown so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SideEra {
    /// The era, if it is known.
    pub era: Option<Era>,
    /// The version that the side named, as spelled.
    pub version: Option<String>,
}

/// The eras of both sides of a session. They can differ, and the client's may change once, when a probe
/// for the stateless era fails and the client falls back to `initialize`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Eras {
    /// The era of the client.
    pub client: SideEra,
    /// The era of the server.
    pub server: SideEra,
}

impl Eras {
    /// Learns from a message; `answers` is the method of the request that a response belongs to. Returns
    /// `true` if anything changed.
    pub fn observe(&mut self, direction: Direction, message: &Message, answers: Option<&str>) -> bool {
        let evidence = match direction {
            Direction::ToServer => client_evidence(message),
            Direction::ToClient => server_evidence(message, answers),
        };
        let Some(evidence) = evidence else { return false };
        let side = match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        };
        let evidence = SideEra { version: evidence.version.or_else(|| side.version.clone()), ..evidence };
        let changed = *side != evidence;
        *side = evidence;
        changed
    }

    /// Returns the era in force: the server's, or else the one that the client claims.
    pub fn current(&self) -> Option<Era> {
        self.server.era.or(self.client.era)
    }

    /// Returns `true` if both eras are known and differ.
    pub fn differ(&self) -> bool {
        matches!((self.client.era, self.server.era), (Some(a), Some(b)) if a != b)
    }
}

fn text(token: Option<&[u8]>) -> Option<String> {
    json::unescape(token?).map(|text| text.into_owned())
}

/// Returns the strings of the list at `path` in a result or error, such as the versions that a server
/// supports.
pub fn versions(message: &Message, path: &[&str]) -> Vec<String> {
    let Some(list) = message.outcome(path) else { return Vec::new() };
    json::elements(list, 0..list.len()).filter_map(|span| text(Some(&list[span]))).collect()
}

fn client_evidence(message: &Message) -> Option<SideEra> {
    let Kind::Request { method, .. } = message.kind() else { return None };
    if method == "initialize" {
        let version = text(message.param(&["protocolVersion"]));
        return Some(SideEra { era: Some(Era::Stateful), version });
    }
    let version = text(message.param(&["_meta", meta::PROTOCOL_VERSION]))?;
    Some(SideEra { era: Some(Era::of_version(&version)), version: Some(version) })
}

fn server_evidence(message: &Message, answers: Option<&str>) -> Option<SideEra> {
    match message.kind() {
        Kind::Response { result, .. } => match answers {
            Some("initialize") => {
                let version = text(message.outcome(&["protocolVersion"]))?;
                Some(SideEra { era: Some(Era::Stateful), version: Some(version) })
            }
            Some("server/discover") => {
                let list = json::member(message.raw(), result.clone(), "supportedVersions")?;
                let newest = json::elements(message.raw(), list)
                    .filter_map(|span| text(Some(message.slice(span))))
                    .filter(|version| Era::of_version(version) == Era::Stateless)
                    .max()?;
                Some(SideEra { era: Some(Era::Stateless), version: Some(newest) })
            }
            _ => {
                message.outcome(&["resultType"])?;
                Some(SideEra { era: Some(Era::Stateless), version: None })
            }
        },
        Kind::Failure { .. } => match message.outcome(&["code"])? {
            // HeaderMismatch and MissingRequiredClientCapability (2026-07-28).
            b"-32020" | b"-32021" => Some(SideEra { era: Some(Era::Stateless), version: None }),
            // UnsupportedProtocolVersion: the newest version that the server names tells its era.
            b"-32022" => {
                let newest = versions(message, &["data", "supported"]).into_iter().max();
                match newest.as_deref().map(Era::of_version) {
                    Some(Era::Stateful) => None,
                    _ => Some(SideEra { era: Some(Era::Stateless), version: newest }),
                }
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ToClient, ToServer};

    fn message(text: &str) -> Message {
        Message::parse(text.to_owned().into())
    }

    #[test]
    fn a_failed_probe_falls_back_once() {
        let mut eras = Eras::default();
        let probe = message(
            r#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        assert!(eras.observe(ToServer, &probe, None));
        assert_eq!(eras.current(), Some(Era::Stateless));
        let refused = message(r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"?"}}"#);
        assert!(!eras.observe(ToClient, &refused, Some("server/discover")));
        let initialize = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#,
        );
        assert!(eras.observe(ToServer, &initialize, None));
        let answer = message(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#);
        assert!(eras.observe(ToClient, &answer, Some("initialize")));
        assert_eq!(eras.current(), Some(Era::Stateful));
        assert_eq!(eras.server.version.as_deref(), Some("2025-06-18"));
        assert!(!eras.differ());
    }

    #[test]
    fn discover_proves_the_stateless_era_only_with_such_a_version() {
        let mut eras = Eras::default();
        let legacy = message(r#"{"jsonrpc":"2.0","id":0,"result":{"supportedVersions":["2025-11-25"]}}"#);
        assert!(!eras.observe(ToClient, &legacy, Some("server/discover")));
        let modern =
            message(r#"{"jsonrpc":"2.0","id":0,"result":{"supportedVersions":["2025-11-25","2026-07-28"]}}"#);
        assert!(eras.observe(ToClient, &modern, Some("server/discover")));
        assert_eq!(eras.server.version.as_deref(), Some("2026-07-28"));
    }
}
