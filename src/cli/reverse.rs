//! `shadowcat reverse`: a server behind one HTTP endpoint.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::HeaderName;

use super::failure::{Failure, FailureKind};
use super::http::{UpstreamArguments, bind, target};
use super::{output, record};
use crate::gateway::{self, Gateway, Hop, Passed};
use crate::host::Host;
use crate::http::{CallService, HttpUpstream, ProxyOptions, ProxyService};
use crate::intercept::Chain;
use crate::serve::{HttpAdapter, SessionLimits};
use crate::stdio::lifecycle;
use crate::transport::http::Guard;

/// Arguments of `reverse`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// URL of an HTTP server, or command line of a stdio server in one word.
    #[arg(long, value_name = "URL|COMMAND LINE")]
    upstream: String,
    /// Address that clients connect to; MCP is at /mcp.
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080))]
    bind: SocketAddr,
    /// Also answer to this host name, and to web pages of it.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Also serve web pages of this origin (scheme, host and port; or null). Pages may read the answers of a
    /// server behind this gateway; with this option also those of an HTTP server, in place of its own CORS headers.
    #[arg(long, value_name = "ORIGIN", value_parser = super::values::origin)]
    allow_origin: Vec<String>,
    /// Pass this header of clients on to an HTTP server, although it may hold a credential. May be repeated.
    #[arg(long, value_name = "NAME", value_parser = super::values::passed_header)]
    pass_header: Vec<HeaderName>,
    /// Pass this cookie between clients and an HTTP server, such as that of a load balancer. May be repeated.
    #[arg(long, value_name = "NAME")]
    pass_cookie: Vec<String>,
    #[command(flatten)]
    way: UpstreamArguments,
    /// Maximum number of open sessions of a stdio server; each has a process of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_sessions: usize,
    /// Time after which a silent session of a stdio server is ended; 0 for never. When as many are open as may be, one
    /// that has been silent for 10 seconds gives way.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = super::values::duration)]
    session_idle: Duration,
    /// Seconds for running calls to end when the gateway is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
    /// Name of the server; derived from its URL or command line if not given.
    #[arg(long)]
    name: Option<String>,
    /// Record to the library.
    #[arg(long)]
    record: bool,
    /// Record to this file.
    #[arg(long, value_name = "FILE")]
    tape: Option<PathBuf>,
    /// Leave secrets out of the tape.
    #[arg(long)]
    redact: bool,
    #[command(flatten)]
    secrets: super::secrets::Secrets,
    #[command(flatten)]
    breaks: record::Breaks,
    #[command(flatten)]
    bounds: record::Bounds,
}

/// Server behind the gateway, and its HTTP adapter if it is a stdio server.
type Server = (Arc<dyn CallService>, Option<Arc<HttpAdapter>>);

/// Serves until a signal asks to stop.
///
/// # Errors
/// Fails if an argument is invalid, the server cannot be found or logged in at, or the address is in
/// use.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments {
        upstream,
        bind: address,
        allow_host,
        allow_origin,
        pass_header,
        pass_cookie,
        way,
        max_sessions,
        session_idle,
        grace,
        name,
        record,
        tape,
        redact,
        secrets,
        breaks,
        bounds,
    } = arguments;
    let record =
        record::Recording { name, no_tape: !record && tape.is_none(), tape, redact, secrets, breaks, bounds };
    // Layers from the clients to the server and back, outermost first:
    // the log, which records every message before an interceptor rules on it …
    let log = record.log();
    // … the chain, whose only stage so far holds what breakpoints match while a controller is there …
    let breakpoints = record.breakpoints(&log);
    let chain = Chain::of_breakpoints(&breakpoints);
    // … the engine, which opens sessions and carries out commands …
    let (host, engine) = Host::start(Arc::clone(&log), record.settings(&breakpoints), chain);
    // … the server: a remote one, or processes of this gateway …
    let (words, is_url) = words(&upstream)?;
    let name = record.name_for(&words);
    let (server, adapter): Server = match is_url {
        true => {
            let passed = Passed { headers: pass_header, cookies: pass_cookie };
            let hop = Hop::new(way.connect(&upstream, false, &host).await?.0, way.headers()?, passed);
            (HttpUpstream::new(hop), None)
        }
        false => {
            if !(pass_header.is_empty() && pass_cookie.is_empty()) {
                return Err(Failure::usage("--pass-header and --pass-cookie are for HTTP servers")
                    .hint("a stdio server gets no headers"));
            }
            let spec = record.spec(words.clone());
            spec.find().map_err(|error| {
                Failure::usage(error)
                    .hint("--upstream is a URL, or a command line that is started without a shell")
            })?;
            let limits = SessionLimits { count: max_sessions, idle: session_idle };
            let adapter = HttpAdapter::new(Arc::clone(&host), name.clone(), spec, limits);
            (Arc::clone(&adapter) as Arc<dyn CallService>, Some(adapter))
        }
    };
    // … the listener, the proxy service between it and the server, and the gateway around both …
    let listener = bind(address, "--bind").await?;
    let address = listener.address().map_err(Failure::usage)?;
    let guard = Guard::new(address.ip(), &allow_host).with_origins(&allow_origin);
    let service = ProxyService::new(
        Arc::clone(&host),
        server,
        guard.clone(),
        name.clone(),
        ProxyOptions {
            explains: true,
            answers_pages: adapter.is_some() || !allow_origin.is_empty(),
            // The sessions of a stdio server end by their own limit, and this one must not end before them.
            session_idle: adapter.is_some().then(|| match session_idle.is_zero() {
                true => Duration::ZERO,
                false => session_idle.saturating_add(Duration::from_secs(60)),
            }),
            ..ProxyOptions::default()
        },
    );
    let gateway = Gateway::new(Arc::clone(&service), adapter.clone(), guard, &log, name);
    let router = gateway.router();
    // … and the tape, which follows the log at its own pace.
    let mut recorder = record.record(&log, &words);
    let target = host.cleaner().command(&words);
    let control = super::socket::serve(&engine, &record, recorder.as_ref(), "reverse", &target, None);
    let mut signals = lifecycle::signals().map_err(Failure::peer)?;
    output::say(&format!("listening on http://{address}{}", gateway::ENDPOINT));
    if let Some(adapter) = adapter.clone() {
        tokio::spawn(async move {
            if let Err(why) = adapter.look_ahead().await {
                output::say(&format!("warning: {why}"));
            }
        });
    }
    let listener = listener.with_grace(Duration::from_secs(grace));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving =
        listener.serve(move |request, peer| gateway::answer(router.clone(), request, peer), async {
            // `Err` means that the sender was dropped: stop too.
            let _ = stopped.await;
        });
    let ending = async {
        serving.await;
        service.close("the gateway was stopped");
        if let Some(adapter) = &adapter {
            adapter.close().await;
        }
    };
    let signalled = async {
        lifecycle::stopped(&mut signals).await;
        service.end_standing_streams();
        adapter.iter().for_each(|adapter| adapter.end_openings());
        drop(stop);
        // A second signal means that the user does not want to wait.
        lifecycle::stopped(&mut signals).await;
    };
    let code = tokio::select! {
        () = ending => ExitCode::SUCCESS,
        () = signalled => {
            if let Some(adapter) = &adapter {
                adapter.kill();
            }
            ExitCode::from(FailureKind::Interrupted as u8)
        }
    };
    if let Some(recorder) = &mut recorder {
        recorder.finish();
    }
    super::socket::close(control).await;
    Ok(code)
}

/// Splits the server's command line into words. A URL is one word, and the flag `true`.
fn words(upstream: &str) -> Result<(Vec<String>, bool), Failure> {
    if upstream.starts_with("http://") || upstream.starts_with("https://") {
        return Ok((vec![target(upstream)], true));
    }
    let words = shell_words::split(upstream).map_err(|error| {
        Failure::usage(format!("--upstream {upstream:?} is not a command line: {error}"))
            .hint("quote words as in a shell; no shell is used to run it")
    })?;
    match words.is_empty() {
        true => Err(Failure::usage("--upstream is empty").hint("name a URL or a command line")),
        false => Ok((words, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_or_a_command_line() {
        assert_eq!(words("https://a.example/mcp").unwrap(), (vec!["https://a.example/mcp".to_owned()], true));
        let (command, is_url) = words("npx -y 'a b' stdio").unwrap();
        assert_eq!((command.join("|"), is_url), ("npx|-y|a b|stdio".to_owned(), false));
        assert!(words("npx 'open").is_err() && words(" ").is_err());
    }
}
