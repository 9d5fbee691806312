//! Examination of a stdio server that is started for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Arguments, EVIDENCE_BYTES, Examination, INSPECTED_BYTES, calls, folded};
use crate::cli::failure::Failure;
use crate::client::Attendance;
use crate::clients::{Document, Homes};
use crate::clock::Clock;
use crate::doctor::{Check, CheckResult, cause};
use crate::host::launch::{Launch, launch};
use crate::host::{Host, Settings};
use crate::intercept::Chain;
use crate::log::Log;
use crate::stdio::lifecycle;
use crate::transport::child::{SpawnError, Spec};

/// Time for a server to end after its stdin was closed: the official SDKs send a signal after two seconds.
const EXIT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Starts the server, sends everything that a client sends first, and lets the server end.
pub(super) async fn started(arguments: &Arguments) -> Result<Examination, Failure> {
    let log = Log::new(Clock::system(), EVIDENCE_BYTES);
    let mut outside = vec![configured(), found(&arguments.command)];
    let title = arguments.command.join(" ");
    let examination = |outside, is_interrupted, log: Arc<Log>| Examination {
        title,
        world: folded(&log),
        log,
        outside,
        is_interrupted,
    };
    if outside[1].verdict == CheckResult::Failed {
        return Ok(examination(outside, false, log));
    }
    let (host, _engine) = Host::start(
        Arc::clone(&log),
        Settings { inspect_limit: INSPECTED_BYTES, ..Settings::default() },
        Chain::new(),
    );
    let name = crate::cli::record::name_of(&arguments.command);
    let spec = Spec::new(arguments.command.clone());
    let (tell, told) = tokio::sync::oneshot::channel();
    let server = Launch { name, spec, era: arguments.era.era(), attendance: Attendance::Nobody };
    let deadline = Instant::now() + arguments.timeout;
    let launched = launch(&host, server, move |client| {
        // The receiver may have given up waiting; ignore the error.
        let _ = tell.send(client);
    });
    if let Err(error) = launched {
        outside.push(
            Check::of("spawn", vec![(&cause::NOT_STARTED, error.to_string().into())], "")
                .with_advice(error.hint()),
        );
        return Ok(examination(outside, false, log));
    }
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    let examined = async {
        // If the handshake failed, the checks find out why.
        let Ok(client) = told.await else { return };
        calls::settle(&client, deadline).await;
        calls::make(arguments, &client, &log, deadline).await;
    };
    let mut is_interrupted = false;
    tokio::select! {
        () = examined => {}
        () = all_ended(&host) => {}
        () = tokio::time::sleep_until(deadline) => {}
        () = lifecycle::stopped(&mut signals) => is_interrupted = true,
    }
    outside.push(ends(&host).await);
    host.closed(EXIT_TIMEOUT).await;
    Ok(examination(outside, is_interrupted, log))
}

/// Waits until no process runs any more.
async fn all_ended(host: &Arc<Host>) {
    // The first process may be replaced by another, in the other era: check twice.
    const POLL_INTERVAL: Duration = Duration::from_millis(200);
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if host.processes().iter().all(|process| process.ended().is_some()) {
            tokio::time::sleep(POLL_INTERVAL).await;
            if host.processes().iter().all(|process| process.ended().is_some()) {
                return;
            }
        }
    }
}

/// Checks that the configuration files of clients can be read.
fn configured() -> Check {
    const ID: &str = "config";
    let Ok(homes) = Homes::own() else {
        return Check::inapplicable(ID, "there is no home directory");
    };
    let files = homes.files(None);
    let (mut broken, mut servers) = (Vec::new(), 0);
    for place in &files {
        match Document::read(place) {
            Ok(document) => servers += document.entries.len(),
            Err(error) => broken.push((&cause::CONFIG, error.to_string().into())),
        }
    }
    match files.len() {
        0 => Check::inapplicable(ID, "no configuration file of a known client found"),
        count => Check::of(ID, broken, format!("{servers} servers in {count} files")),
    }
}

/// Checks that clients find the program. Clients with a window have a shorter PATH than a shell.
fn found(command: &[String]) -> Check {
    const ID: &str = "binary";
    const TRIMMED: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let Some(program) = command.first() else { return Check::inapplicable(ID, "no command") };
    if let Err(error) = Spec::new(command.to_vec()).find() {
        let cause = match error {
            SpawnError::OneWord { .. } => &cause::ONE_WORD,
            SpawnError::NoInterpreter { .. } => &cause::NO_INTERPRETER,
            SpawnError::NotExecutable { .. } => &cause::NOT_EXECUTABLE,
            _ => &cause::NOT_FOUND,
        };
        return Check::of(ID, vec![(cause, error.to_string().into())], "").with_advice(error.hint());
    }
    if program.contains('/') {
        return Check::passed(ID, format!("{program} is a path"));
    }
    match TRIMMED.iter().map(|place| Path::new(place).join(program)).find(|path| path.is_file()) {
        Some(path) => Check::passed(ID, path.display().to_string()),
        None => {
            let own = std::env::var_os("PATH")
                .into_iter()
                .flat_map(|path| std::env::split_paths(&path).collect::<Vec<PathBuf>>());
            let place = own.map(|place| place.join(program)).find(|path| path.is_file());
            let place = place.map_or_else(|| program.clone(), |path| path.display().to_string());
            let text = format!("{place} is not in {}", TRIMMED.join(":"));
            let advice = format!("write {place} into the configuration instead of {program}");
            Check::of(ID, vec![(&cause::TRIMMED_PATH, text.into())], "").with_advice(advice)
        }
    }
}

/// Closes the servers' standard input, and checks that they end then, as the MCP specification requires.
async fn ends(host: &Arc<Host>) -> Check {
    const ID: &str = "shutdown";
    let running: Vec<_> = host.processes().into_iter().filter(|process| process.ended().is_none()).collect();
    if running.is_empty() {
        return Check::inapplicable(ID, "the server ended before its client closed stdin");
    }
    host.close_inputs();
    let mut late = Vec::new();
    for process in running {
        if tokio::time::timeout(EXIT_TIMEOUT, process.wait()).await.is_err() {
            let text = format!(
                "process {} was still running after {EXIT_TIMEOUT:?} and was terminated by a signal",
                process.id()
            );
            late.push((&cause::OUTLIVES_STDIN, text.into()));
            process.terminate().await;
        }
    }
    Check::of(ID, late, "exited in time")
}
