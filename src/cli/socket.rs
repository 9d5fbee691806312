//! The control socket of every command that runs an engine.

use super::record::Recording;
use crate::control::server::Attach;
use crate::control::{self, About, Server};
use crate::engine::Engine;
use crate::log::record::{Body, Level, Note, SessionId};
use crate::tape::{Recorder, Status};

/// Closes the socket where there is one; whoever follows reads to the end first.
pub async fn close(control: Option<Server>) {
    if let Some(control) = control {
        control.close().await;
    }
}

/// Serves `engine` on a socket for as long as what is returned is kept; clients can be attached where
/// there is `attach`. No socket is no reason to stop: the log says why there is none.
pub fn serve(
    engine: &Engine,
    record: &Recording,
    recorder: Option<&Recorder>,
    mode: &str,
    target: &[String],
    attach: Option<Attach>,
) -> Option<Server> {
    let nothing = tokio::sync::watch::channel(Status::default()).1;
    let recording = recorder.map_or(nothing, Recorder::status);
    let about = About { name: record.name_for(target), mode: mode.to_owned(), target: target.to_vec() };
    match control::serve(engine.clone(), about, recording, attach) {
        Ok(server) => Some(server),
        Err(error) => {
            let text = format!(
                "no control socket: {error}; `shadowcat tui` and `shadowcat ctl` cannot reach this one"
            );
            tracing::warn!("{text}");
            let note = Note { frame: None, mark: None, level: Level::Warning, by: "shadowcat".into(), text };
            engine.log().append(SessionId(0), Body::Note(note));
            None
        }
    }
}
