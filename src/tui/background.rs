//! Effects that are carried out in the background while the screen goes on.

use std::path::PathBuf;
use tokio::sync::mpsc;

use super::app::{AppEvent, Effect};
use super::render;
use crate::clients::{self, Document, Homes, Wrapper, Wrapping};
use crate::engine::Engine;
use crate::places;
use crate::tape::library::{self, Catalog, Wanted};

/// Carries out an effect in the background and sends its result to the screen. Returns effects that
/// need the terminal.
pub fn run(effect: Effect, engine: &Engine, sender: &mpsc::Sender<AppEvent>) -> Option<Effect> {
    match effect {
        Effect::Send(command, purpose) => {
            let (engine, sender) = (engine.clone(), sender.clone());
            tokio::spawn(async move {
                let reply = engine.send(command).await;
                // `Err` means that the screen was closed: drop the reply.
                let _ = sender.send(AppEvent::Replied(purpose, reply)).await;
            });
        }
        Effect::Render(job) => background(sender, move || AppEvent::Rendered(render::render(&job))),
        Effect::Compare(comparison) => {
            background(sender, move || AppEvent::Compared(comparison.run().map(Box::new)));
        }
        Effect::ListTapes => background(sender, || AppEvent::Tapes(tapes())),
        Effect::FindServers => background(sender, || {
            AppEvent::Servers(
                Homes::own().map(|homes| clients::servers(&homes)).map_err(|error| error.to_string()),
            )
        }),
        Effect::Plan(place, entry) => background(sender, move || AppEvent::Planned(plan(&place, &entry))),
        Effect::Change(change) => background(sender, move || {
            AppEvent::Changed(data().and_then(|data| {
                change.write(&data).map_err(|error| error.to_string())?;
                let client = change.place.client;
                Ok(format!("saved; {}: {}", client.title, client.restart))
            }))
        }),
        other => return Some(other),
    }
    None
}

fn background(sender: &mpsc::Sender<AppEvent>, work: impl FnOnce() -> AppEvent + Send + 'static) {
    let sender = sender.clone();
    tokio::task::spawn_blocking(move || {
        // `Err` means that the screen was closed: drop the result.
        let _ = sender.blocking_send(work());
    });
}

/// Returns the recordings of the library, or none if it cannot be read.
fn tapes() -> Vec<library::ListedTape> {
    let found = Catalog::open_settled(&mut |_, _| ()).and_then(|catalog| catalog.find(&Wanted::default()));
    let mut found = found.unwrap_or_default();
    // A tape that is being recorded is listed as a running session already.
    found.retain(|tape| tape.sealed || !library::is_recorded(&tape.path));
    found
}

/// Plans to wrap a server in a client's configuration, or to unwrap a wrapped one.
fn plan(place: &clients::ConfigFile, entry: &clients::ServerEntry) -> Result<clients::ConfigChange, String> {
    let document = Document::read(place).map_err(|error| error.to_string())?;
    let direction = if entry.is_wrapped() { Wrapping::Out } else { Wrapping::In };
    let wrapper = Wrapper::own().map_err(|error| error.to_string())?;
    let data = data()?;
    let plan = clients::plan(place, document, std::slice::from_ref(entry), direction, &wrapper, &data);
    let refused = plan.refused.first().map(|(entry, why)| format!("{}: {why}", entry.server));
    plan.change
        .ok_or_else(|| refused.unwrap_or_else(|| "the server is no longer in the configuration".into()))
}

/// Returns the data directories of the user.
fn data() -> Result<Vec<PathBuf>, String> {
    let data = places::data();
    let homeless = || "this user has no home directory; set SHADOWCAT_DATA_DIR".to_owned();
    (!data.is_empty()).then_some(data).ok_or_else(homeless)
}
