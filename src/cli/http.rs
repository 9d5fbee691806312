//! Options of every command in front of an HTTP server: the listener, and the connection to the
//! upstream.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;
use super::output;
use crate::host::Host;
use crate::http::{HttpUpstream, ProxyOptions, ProxyService};
use crate::log::record::{Level, SessionId};
use crate::oauth::{self, LoginError, TokenManager};
use crate::places;
use crate::transport::http::{Authorized, Cleaner, Connect, Guard, Listener, Upstream, UpstreamOptions};

/// Options for the connection to an HTTP server.
#[derive(Debug, Args)]
pub struct UpstreamArguments {
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust any certificate: anyone on the network path can read and change everything.
    #[arg(long)]
    insecure: bool,
    /// Header for every request that shadowcat itself makes, such as 'Authorization: Bearer …'. In
    /// the environment, which other users cannot see, each stands on a line of its own.
    #[arg(
        long,
        value_name = "NAME: VALUE",
        env = "SHADOWCAT_HEADERS",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    header: Vec<String>,
    #[command(flatten)]
    login: LoginArguments,
}

/// Options for a token of shadowcat's own for the server.
#[derive(Debug, Args)]
struct LoginArguments {
    /// Log in at the server in a browser: clients need no token of their own then.
    #[arg(long)]
    login: bool,
    /// Client id that the authorization server gave to you. A secret that belongs to it comes from
    /// SHADOWCAT_CLIENT_SECRET.
    #[arg(long, value_name = "ID", requires = "login")]
    client_id: Option<String>,
    /// Log in at this authorization server only; needed with a secret.
    #[arg(long, value_name = "URL", requires = "login")]
    issuer: Option<String>,
    /// Request these scopes too.
    #[arg(long, value_name = "SCOPES", requires = "login")]
    scope: Option<String>,
    /// Print the address to open, and open no browser.
    #[arg(long, requires = "login")]
    no_browser: bool,
}

/// Connection to the upstream, and the manager of shadowcat's own token for it, if there is one.
pub type UpstreamConnection = (Arc<dyn Connect>, Option<Arc<TokenManager>>);

/// Listener for the clients of an HTTP server, and what stands behind it.
pub struct HttpEndpoint {
    /// Listener that clients connect to.
    pub listener: Listener,
    /// Proxy service between the listener and the upstream.
    pub service: Arc<ProxyService>,
    /// URL that clients use.
    pub url: String,
    /// Manager of shadowcat's own token for the upstream, if it logs in.
    pub tokens: Option<Arc<TokenManager>>,
}

/// Options for the listener in front of an HTTP server.
#[derive(Debug, Args)]
pub struct ListenArguments {
    /// Address that clients connect to. Any but this machine's own addresses is open to others.
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    listen: SocketAddr,
    /// Also answer to this host name, and to web pages of it.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Also admit web pages of this origin (scheme, host and port; or null).
    #[arg(long, value_name = "ORIGIN", value_parser = crate::cli::values::origin)]
    allow_origin: Vec<String>,
    /// Send the client's Host header on as it is.
    #[arg(long)]
    preserve_host: bool,
    /// Replace the server's address in OAuth messages with ours, and back again: without it a client
    /// refuses tokens for a server that it did not connect to.
    #[arg(long)]
    rewrite_origin: bool,
}

impl UpstreamArguments {
    /// Creates the upstream of the server at `url`.
    ///
    /// # Errors
    /// Fails if the URL is invalid, or the file of certificates cannot be read.
    pub fn upstream(&self, url: &str, preserve_host: bool) -> Result<Arc<Upstream>, Failure> {
        if self.insecure {
            output::say("warning: --insecure trusts any certificate; the server may be anyone");
        }
        let options = UpstreamOptions { ca: self.ca.clone(), insecure: self.insecure, preserve_host };
        Upstream::new(url, &options)
            .map_err(|error| Failure::usage(error).hint("example: http://127.0.0.1:3000/mcp"))
    }

    /// Prepares the connection to the server at `url`. With `--login` it carries a token of
    /// shadowcat's own; then this function waits for the user to log in.
    ///
    /// # Errors
    /// Fails if the URL or the file of certificates is invalid, or the login fails.
    pub async fn connect(
        &self,
        url: &str,
        preserve_host: bool,
        host: &Arc<Host>,
    ) -> Result<UpstreamConnection, Failure> {
        let upstream = self.upstream(url, preserve_host)?;
        if !self.login.login {
            return Ok((upstream, None));
        }
        let tokens = self.log_in(url, host).await.map_err(|error| match error.hint() {
            Some(hint) => Failure::peer(error).hint(hint),
            None => Failure::peer(error),
        })?;
        Ok((Authorized::new(upstream, Arc::clone(&tokens)), Some(tokens)))
    }

    async fn log_in(&self, url: &str, host: &Arc<Host>) -> Result<Arc<TokenManager>, LoginError> {
        let LoginArguments { client_id, issuer, scope, no_browser, .. } = &self.login;
        let directory = places::data().into_iter().next().ok_or(LoginError::NoPlace)?;
        let options = oauth::LoginOptions {
            client_id: client_id.clone(),
            client_secret: std::env::var("SHADOWCAT_CLIENT_SECRET").ok().filter(|secret| !secret.is_empty()),
            issuer: issuer.clone(),
            scope: scope.clone(),
            // Standard streams that belong to a client must not be read: use the terminal only if
            // they are one.
            terminal: io::stdin().is_terminal() && io::stderr().is_terminal(),
            browser: !no_browser,
            directory: directory.join("oauth"),
        };
        let web = oauth::Web::new(self.ca.as_deref(), self.insecure)?;
        let speaker = Arc::downgrade(host);
        let has_terminal = options.terminal;
        let tell: oauth::ShowText = Box::new(move |text, may_print| {
            if may_print {
                output::say(text);
            }
            // Where nobody reads stderr, or a screen has the terminal, the text becomes a note. Only its first line
            // does: addresses stay off the tape.
            if let Some(host) = speaker.upgrade().filter(|_| !(may_print && has_terminal)) {
                host.note(SessionId(0), Level::Warning, text.lines().next().unwrap_or_default());
            }
        });
        let clock = host.log().clock().clone();
        let tokens = TokenManager::new(web, url, options, clock, tell)?;
        if !tokens.look_ahead().await? {
            output::say("the server does not require authorization yet; --login starts when it does");
        }
        Ok(tokens)
    }

    /// Returns the headers of the requests that shadowcat itself makes.
    ///
    /// # Errors
    /// Fails if an option is not a header; the message does not repeat it, as it may be a secret.
    pub fn headers(&self) -> Result<HeaderMap, Failure> {
        let parsed = (1..).zip(&self.header).map(|(number, text)| {
            header(text).map_err(|why| {
                Failure::usage(format!("header {number} of --header or SHADOWCAT_HEADERS: {why}"))
            })
        });
        parsed.collect()
    }
}

impl ListenArguments {
    /// Opens the listener, and creates the proxy service behind it.
    ///
    /// # Errors
    /// Fails if the upstream cannot be prepared, or the address is in use.
    pub async fn open(
        &self,
        host: &Arc<Host>,
        way: &UpstreamArguments,
        url: &str,
        name: Option<&str>,
    ) -> Result<HttpEndpoint, Failure> {
        let (upstream, tokens) = way.connect(url, self.preserve_host, host).await?;
        let listener = bind(self.listen, "--listen").await?;
        let address = listener.address().map_err(Failure::usage)?;
        let guard = Guard::new(address.ip(), &self.allow_host).with_origins(&self.allow_origin);
        let url = format!("http://{address}{}", upstream.address().path);
        let options = ProxyOptions { rewrites: self.rewrite_origin, ..ProxyOptions::default() };
        Ok(HttpEndpoint { listener, service: service(host, upstream, guard, name, options), url, tokens })
    }
}

/// Opens a listener at an address that the option `option` names, and warns if other machines can
/// reach it.
///
/// # Errors
/// Fails if the address is in use or does not belong to this machine.
pub async fn bind(address: SocketAddr, option: &str) -> Result<Listener, Failure> {
    let listener = Listener::bind(address).await.map_err(|error| {
        Failure::usage(format!("cannot listen on {address}: {error}"))
            .hint(format!("name another address or port with {option}; port 0 takes a free one"))
    })?;
    if !address.ip().is_loopback() {
        output::say(&format!("warning: {address} is reachable from other machines without authentication"));
    }
    Ok(listener)
}

/// Creates a proxy service. Without a `name` it has that of its upstream.
pub fn service(
    host: &Arc<Host>,
    upstream: Arc<dyn Connect>,
    guard: Guard,
    name: Option<&str>,
    options: ProxyOptions,
) -> Arc<ProxyService> {
    let name = name.map_or_else(|| upstream.address().authority.clone(), str::to_owned);
    ProxyService::new(Arc::clone(host), HttpUpstream::new(upstream), guard, name, options)
}

/// Returns the URL of an upstream as a tape records it, without its secrets.
pub fn target(upstream: &str) -> String {
    Cleaner::new().url(upstream)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "invalid header name")?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| "invalid header value")?;
    value.set_sensitive(true);
    Ok((name, value))
}
