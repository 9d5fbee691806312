//! The first message of a connection, and connections that become a client's standard streams.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Guest, ServerState};
use crate::control::api::{Ask, VERSION};
use crate::control::wire::{self, ErrorObject, Incoming};
use crate::log::record::{Body, Level, Note, SessionId};

/// Checks the version of the control protocol that a peer speaks.
///
/// # Errors
/// If it is not the version of this program; the message says which side to update.
pub(super) fn check_version(version: u32) -> Result<(), ErrorObject> {
    let program = concat!("shadowcat ", env!("CARGO_PKG_VERSION"));
    let next = match version.cmp(&VERSION) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "restart it with the newer program",
        std::cmp::Ordering::Less => "update the client program",
    };
    let text = format!(
        "this engine ({program}) speaks version {VERSION} of the control protocol ; the peer speaks {version}: {next}"
    );
    Err(ErrorObject::new(wire::INCOMPATIBLE, text))
}

/// Reads the first line of a connection, without its terminator; `None` if none arrives in time.
pub(super) async fn first_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
    tokio::time::timeout(FIRST_MESSAGE_TIMEOUT, read_first_line(stream)).await.ok().flatten()
}

async fn read_first_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    /// Maximum length of the first message in bytes.
    const MAX_FIRST_MESSAGE: usize = 64 << 10;
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await.ok()? {
            b'\n' => return Some(line),
            byte => line.push(byte),
        }
        if line.len() > MAX_FIRST_MESSAGE {
            let failure = ErrorObject::new(wire::INVALID_REQUEST, "the first line is longer than 64 KiB");
            // The peer may be gone; ignore the error.
            let _ = stream.write_all(&wire::answer(&Value::Null, Err(failure))).await;
            return None;
        }
    }
}

/// Attaches the peer to a server as a client if `first` asks for that; otherwise returns the
/// connection.
pub(super) async fn join(
    mut stream: UnixStream,
    first: Vec<u8>,
    shared: &Arc<ServerState>,
) -> Option<(UnixStream, Vec<u8>)> {
    let request =
        serde_json::from_slice::<Incoming>(&first).ok().filter(|request| request.method == "client/attach");
    let Some(request) = request else { return Some((stream, first)) };
    let id = request.id.unwrap_or_default();
    let tagged = json!({ "method": request.method, "params": request.params.unwrap_or_else(|| json!({})) });
    let asked = match serde_json::from_value(tagged) {
        Ok(Ask::Attach { version, name, share }) => check_version(version).map(|()| (name, share)),
        Ok(_) => Err(ErrorObject::new(wire::INVALID_REQUEST, "expected client/attach")),
        Err(error) => Err(ErrorObject::new(wire::INVALID_PARAMS, error.to_string())),
    };
    let able = shared.attach.clone().ok_or_else(|| {
        ErrorObject::new(wire::REFUSED, "this shadowcat has no server that clients can attach to")
    });
    let joined = match asked.and_then(|asked| Ok((asked, able?))) {
        Ok(((name, shares), attach)) => {
            // Send the answer first: everything behind it comes from the server.
            stream.write_all(&wire::answer(&id, Ok(wire::result(&json!({}))))).await.ok()?;
            let stream = stream.into_std().ok()?;
            stream.set_nonblocking(false).ok()?;
            attach(Guest { stream, name, shares })
        }
        Err(failure) => {
            // The peer may be gone; ignore the error.
            let _ = stream.write_all(&wire::answer(&id, Err(failure))).await;
            return None;
        }
    };
    if let Err(why) = joined {
        let note = Note {
            frame: None,
            mark: None,
            level: Level::Error,
            by: "shadowcat".into(),
            text: format!("the client could not be attached: {why}"),
        };
        shared.engine.log().append(SessionId(0), Body::Note(note));
    }
    None
}
