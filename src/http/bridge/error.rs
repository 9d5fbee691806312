//! The reasons why a message of the client gets no answer from its server.

use std::time::Duration;

/// The reason why an exchange brought no answer, in the words that the client gets.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The server responded, and its response is no answer.
    #[error("{0}")]
    Refused(String),
    /// The connection was closed without a response.
    #[error("the connection was closed")]
    Closed,
    /// The server of this origin redirects from one path to another without an end.
    #[error("the server at {0} redirects in a circle")]
    Circle(String),
    /// The body of the response broke off.
    #[error("the server broke off its answer: {0}")]
    BrokenOff(String),
    /// The body of the response is too long to be a message.
    #[error("the answer of the server is longer than 256 MiB")]
    TooLong,
    /// The response had ended when the request was not answered.
    #[error("the server ended its response without an answer")]
    Unanswered,
    /// The server has said nothing for this long, and the client's input has ended.
    #[error("no answer: the server said nothing for {0:?} after the end of the input")]
    Silent(Duration),
    /// The event stream had ended when the request was not answered.
    #[error("the event stream ended without an answer")]
    StreamEnded,
    /// The event stream was resumed this often in a row without bringing anything.
    #[error("the event stream ended without an answer, and {0} tries to resume it brought nothing")]
    ResumedInVain(u32),
    /// The server refused to resume the event stream.
    #[error("the event stream ended without an answer, and cannot be resumed: {0}")]
    NotResumed(String),
    /// The session is lost, and the client has made no handshake that could be repeated.
    #[error("{0}")]
    Lost(String),
    /// The session is lost, and the server refused another one.
    #[error("{lost}, and opened no new one: {why}")]
    NotReplaced {
        /// How the loss was noticed.
        lost: String,
        /// The reason for the refusal.
        why: Box<Self>,
    },
    /// The session is lost, and the server did not answer the repeated handshake in time.
    #[error("{lost}, and did not answer initialize within {limit:?}")]
    HandshakeUnanswered {
        /// How the loss was noticed.
        lost: String,
        /// The time limit.
        limit: Duration,
    },
}
