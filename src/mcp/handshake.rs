//! The handshake of a client in the stateful era, for its repetition with another process or in another
//! session (2025-11-25, basic/lifecycle; basic/transports, session management).

use bytes::Bytes;

use super::compose;
use super::message::{Kind, Message};

/// Maximum length in bytes of a message that is kept.
const MAX_BYTES: usize = 1 << 20;

/// The handshake messages of a client.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    initialize: Option<Message>,
    initialized: Option<Message>,
    /// Set once the handshake is over, or the client has begun without one.
    is_over: bool,
}

impl Handshake {
    /// Remembers a message if it belongs to the handshake. Returns `true` for the `initialize` that counts.
    pub fn learn(&mut self, message: &Message) -> bool {
        if self.is_over || message.raw().len() > MAX_BYTES {
            return false;
        }
        match (message.method(), &self.initialize) {
            (Some("initialize"), None) => {
                self.initialize = Some(message.clone());
                return true;
            }
            (Some("notifications/initialized"), Some(_)) => {
                self.initialized = Some(message.clone());
                self.is_over = true;
            }
            // Pings, the probe, its cancellation and replies may come before the handshake.
            (Some("ping" | "server/discover"), _) | (None, _) | (Some(_), Some(_)) => {}
            (Some(_), None) => self.is_over = matches!(message.kind(), Kind::Request { .. }),
        }
        false
    }

    /// Returns `initialize` as the client sent it.
    pub fn initialize(&self) -> Option<&Message> {
        self.initialize.as_ref()
    }

    /// Returns `notifications/initialized` as the client sent it.
    pub fn initialized(&self) -> Option<&Message> {
        self.initialized.as_ref()
    }
}

/// Returns the notifications that lists have changed, for a client whose server was replaced; `answer` is
/// the new server's answer to `initialize`.
pub fn changed_lists(answer: &Message) -> impl Iterator<Item = Bytes> + use<> {
    let lists = [
        ("tools", "notifications/tools/list_changed"),
        ("prompts", "notifications/prompts/list_changed"),
        ("resources", "notifications/resources/list_changed"),
    ];
    let declared = lists.map(|(list, method)| {
        let path = ["capabilities", list, "listChanged"];
        (answer.outcome(&path) == Some(b"true")).then(|| compose::notification(method, None))
    });
    declared.into_iter().flatten()
}
