//! The facts that both sides of a session state about themselves.

use super::record::Facts;
use crate::mcp::compose::meta;
use crate::mcp::era::SideEra;
use crate::mcp::{Direction, Eras, Message, json};

/// The names and capabilities of both sides, learnt from handshakes and `_meta` envelopes.
#[derive(Debug, Default)]
pub struct KnownFacts {
    client: Side,
    server: Side,
}

#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Side {
    name: Option<String>,
    release: Option<String>,
    capabilities: Option<String>,
}

impl KnownFacts {
    /// Learns from a message, whose operation has the method `method`. Returns `true` if anything was new.
    pub fn observe(&mut self, direction: Direction, message: &Message, method: Option<&str>) -> bool {
        let (side, info, capabilities) = match direction {
            Direction::ToServer => {
                let initialize = message.method() == Some("initialize");
                let at = |plain: &'static str, enveloped: &'static str| match initialize {
                    true => message.param(&[plain]),
                    false => message.param(&["_meta", enveloped]),
                };
                let info = at("clientInfo", meta::CLIENT_INFO);
                (&mut self.client, info, at("capabilities", meta::CLIENT_CAPABILITIES))
            }
            Direction::ToClient => {
                let handshake = matches!(method, Some("initialize" | "server/discover"));
                let info = message.outcome(&["_meta", meta::SERVER_INFO]);
                let info = info.or_else(|| message.outcome(&["serverInfo"]).filter(|_| handshake));
                (&mut self.server, info, message.outcome(&["capabilities"]).filter(|_| handshake))
            }
        };
        if info.is_none() && capabilities.is_none() {
            return false;
        }
        let field =
            |key| info.and_then(|info| Some(info.get(json::member(info, 0..info.len(), key)?)?.to_vec()));
        let text = |token: Vec<u8>| json::unescape(&token).map(|text| text.into_owned());
        let learnt = Side {
            name: field("name").and_then(text).or_else(|| side.name.clone()),
            release: field("version").and_then(text).or_else(|| side.release.clone()),
            capabilities: capabilities
                .map(|json| String::from_utf8_lossy(json).into_owned())
                .or_else(|| side.capabilities.clone()),
        };
        let is_new = *side != learnt;
        *side = learnt;
        is_new
    }

    /// Returns all known facts about the side that sends in `direction`.
    pub fn facts(&self, direction: Direction, eras: &Eras) -> Facts {
        let (side, SideEra { era, version }) = match direction {
            Direction::ToServer => (&self.client, eras.client.clone()),
            Direction::ToClient => (&self.server, eras.server.clone()),
        };
        let Side { name, release, capabilities } = side.clone();
        Facts { side: direction, era, version, name, release, capabilities }
    }
}
