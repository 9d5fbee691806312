//! The first message of a connection, and those that want to be a client's streams.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Guest, ServerState};
use crate::control::api::{Ask, VERSION};
use crate::control::wire::{self, Failure, Incoming};
use crate::log::record::{Body, Level, Note, SessionId};

/// # Errors
/// When a peer speaks another version of the protocol.
pub(super) fn check_version(version: u32) -> Result<(), Failure> {
    let program = concat!("shadowcat ", env!("CARGO_PKG_VERSION"));
    let next = match version.cmp(&VERSION) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "restart it with the newer program",
        std::cmp::Ordering::Less => "update the program that asks",
    };
    let text = format!(
        "this engine ({program}) speaks version {VERSION} of the control protocol and you speak {version}: {next}"
    );
    Err(Failure::new(wire::INCOMPATIBLE, text))
}

/// The first line of a connection, without its end; none of a peer that says nothing.
pub(super) async fn first_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
    tokio::time::timeout(FIRST_MESSAGE_TIMEOUT, read_first_line(stream)).await.ok().flatten()
}

async fn read_first_line(stream: &mut UnixStream) -> Option<Vec<u8>> {
    /// A first message is a short one.
    const MAX_FIRST_MESSAGE: usize = 64 << 10;
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await.ok()? {
            b'\n' => return Some(line),
            byte => line.push(byte),
        }
        if line.len() > MAX_FIRST_MESSAGE {
            let failure = Failure::new(wire::INVALID_REQUEST, "the first line is longer than is taken");
            // It may have left.
            let _ = stream.write_all(&wire::answer(&Value::Null, Err(failure))).await;
            return None;
        }
    }
}

/// Joins a client to a server, if that is what it wants. Gives the connection back otherwise.
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
        Ok(_) => Err(Failure::new(wire::INVALID_REQUEST, "client/attach was asked for")),
        Err(error) => Err(Failure::new(wire::INVALID_PARAMS, error.to_string())),
    };
    let able = shared.attach.clone().ok_or_else(|| {
        Failure::new(wire::REFUSED, "this shadowcat launched no server that clients can attach to")
    });
    let joined = match asked.and_then(|asked| Ok((asked, able?))) {
        Ok(((name, shares), attach)) => {
            // The answer goes first: behind it comes what the server says.
            stream.write_all(&wire::answer(&id, Ok(wire::result(&json!({}))))).await.ok()?;
            let stream = stream.into_std().ok()?;
            stream.set_nonblocking(false).ok()?;
            attach(Guest { stream, name, shares })
        }
        Err(failure) => {
            // It may have left.
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
            text: format!("nobody was attached: {why}"),
        };
        shared.engine.log().append(SessionId(0), Body::Note(note));
    }
    None
}
