//! What every command in front of an HTTP server shares: its listener, and the way upstream.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;
use super::output;
use crate::host::Host;
use crate::http::{ProxyOptions, ProxyService};
use crate::log::record::{Level, SessionId};
use crate::oauth::{self, LoginError, TokenManager};
use crate::tape::library;
use crate::transport::http::{Authorized, Cleaner, Connect, Guard, Listener, Upstream, UpstreamOptions};

/// How an HTTP server is reached.
#[derive(Debug, Args)]
pub struct UpstreamArguments {
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust any certificate: whoever is on the way can read and change everything.
    #[arg(long)]
    insecure: bool,
    /// A header for every request that shadowcat itself makes, such as 'Authorization: Bearer …'. In
    /// the environment, which others do not see, each stands on a line of its own.
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

/// How shadowcat gets a token of its own for the server.
#[derive(Debug, Args)]
struct LoginArguments {
    /// Log in at the server ourselves, in a browser: clients need no token of their own then.
    #[arg(long)]
    login: bool,
    /// The client id that the authorization server gave to you. A secret that belongs to it comes
    /// from SHADOWCAT_CLIENT_SECRET.
    #[arg(long, value_name = "ID", requires = "login")]
    client_id: Option<String>,
    /// Log in at this authorization server only; a secret needs it.
    #[arg(long, value_name = "URL", requires = "login")]
    issuer: Option<String>,
    /// Ask for these scopes too.
    #[arg(long, value_name = "SCOPES", requires = "login")]
    scope: Option<String>,
    /// Say which address to open, and open no browser.
    #[arg(long, requires = "login")]
    no_browser: bool,
}

/// The way to a server, and who keeps our token for it.
pub type UpstreamConnection = (Arc<dyn Connect>, Option<Arc<TokenManager>>);

/// A listener, the service behind it, and the URL that clients use.
pub struct HttpEndpoint {
    pub listener: Listener,
    pub service: Arc<ProxyService>,
    pub url: String,
    pub tokens: Option<Arc<TokenManager>>,
}

/// Where the clients of an HTTP server connect to.
#[derive(Debug, Args)]
pub struct ListenArguments {
    /// Where clients connect to. Anything but this machine's own addresses is open to others.
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    listen: SocketAddr,
    /// Also answer to this host name, and to web pages of it.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Send the client's Host header on as it is.
    #[arg(long)]
    preserve_host: bool,
    /// Put our address in the place of the server's in what OAuth says, and back again: without
    /// it a client refuses tokens for a server that it did not dial.
    #[arg(long)]
    rewrite_origin: bool,
}

impl UpstreamArguments {
    /// The server at `url`.
    pub fn upstream(&self, url: &str, preserve_host: bool) -> Result<Arc<Upstream>, Failure> {
        if self.insecure {
            output::say("warning: --insecure trusts any certificate; the server may be anyone");
        }
        let options = UpstreamOptions { ca: self.ca.clone(), insecure: self.insecure, preserve_host };
        Upstream::new(url, &options)
            .map_err(|error| Failure::usage(error).hint("write it like http://127.0.0.1:3000/mcp"))
    }

    /// The way to the server at `url`, with a token of ours where that is asked for: then this
    /// waits for the person.
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
        let directory = library::data().ok_or(LoginError::NoPlace)?;
        let options = oauth::Options {
            client_id: client_id.clone(),
            client_secret: std::env::var("SHADOWCAT_CLIENT_SECRET").ok().filter(|secret| !secret.is_empty()),
            issuer: issuer.clone(),
            scope: scope.clone(),
            // What belongs to a client is not ours to read.
            terminal: io::stdin().is_terminal() && io::stderr().is_terminal(),
            browser: !no_browser,
            directory: directory.join("oauth"),
        };
        let web = oauth::Web::new(self.ca.as_deref(), self.insecure)?;
        let speaker = Arc::downgrade(host);
        let tell: oauth::Tell = Box::new(move |text, at_terminal| match (at_terminal, speaker.upgrade()) {
            (false, Some(host)) => {
                // The screen has the terminal. Addresses stay off the tape.
                let line = text.lines().next().unwrap_or_default();
                host.note(SessionId(0), Level::Warning, line);
            }
            _ => output::say(text),
        });
        let clock = host.log().clock().clone();
        let tokens = TokenManager::new(web, url, options, clock, tell)?;
        if !tokens.look_ahead().await? {
            output::say("the server asks for no authorization yet; --login waits until it does");
        }
        Ok(tokens)
    }

    /// What requests of our own carry.
    ///
    /// # Errors
    /// When one of them is no header; it is not repeated, as it may be a secret.
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
    /// Opens the listener and the service behind it.
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
        let guard = Guard::new(address.ip(), &self.allow_host);
        let url = format!("http://{address}{}", upstream.address().path);
        let options = ProxyOptions { rewrites: self.rewrite_origin, explains: false };
        Ok(HttpEndpoint { listener, service: service(host, upstream, guard, name, options), url, tokens })
    }
}

/// Opens a listener at the address that `option` names.
pub async fn bind(address: SocketAddr, option: &str) -> Result<Listener, Failure> {
    let listener = Listener::bind(address).await.map_err(|error| {
        Failure::usage(format!("cannot listen on {address}: {error}"))
            .hint(format!("name another address or port with {option}; port 0 takes a free one"))
    })?;
    if !address.ip().is_loopback() {
        output::say(&format!("warning: {address} is open to other machines, and asks nobody for a password"));
    }
    Ok(listener)
}

/// A service that has the name of its upstream, if no other.
pub fn service(
    host: &Arc<Host>,
    upstream: Arc<dyn Connect>,
    guard: Guard,
    name: Option<&str>,
    options: ProxyOptions,
) -> Arc<ProxyService> {
    let name = name.map_or_else(|| upstream.address().authority.clone(), str::to_owned);
    ProxyService::new(Arc::clone(host), upstream, guard, name, options)
}

/// An upstream as a tape names it.
pub fn target(upstream: &str) -> String {
    Cleaner::new().url(upstream)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "its name has characters that no name can hold")?;
    let mut value: HeaderValue =
        value.trim().parse().map_err(|_| "its value has characters that no header can hold")?;
    value.set_sensitive(true);
    Ok((name, value))
}
