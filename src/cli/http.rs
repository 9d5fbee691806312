//! What every command in front of an HTTP server shares: its listener, and the way upstream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use super::output;
use crate::proxy::host::Host;
use crate::proxy::http::Gate;
use crate::transport::http::{Cleaner, Guard, Listener, Upstream, UpstreamOptions};

/// Options of commands in front of an HTTP server.
#[derive(Debug, Args)]
pub struct HttpArguments {
    /// Where clients connect to. Anything but this machine's own addresses is open to others.
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    listen: SocketAddr,
    /// Also answer to this host name, and to web pages of it.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Send the client's Host header on as it is.
    #[arg(long)]
    preserve_host: bool,
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust any certificate: whoever is on the way can read and change everything.
    #[arg(long)]
    insecure: bool,
}

impl HttpArguments {
    /// Opens the listener and the gate behind it. Returns the URL that clients use, too.
    pub async fn open(
        &self,
        host: &Arc<Host>,
        upstream: &str,
        name: Option<&str>,
    ) -> Result<(Listener, Arc<Gate>, String), Failure> {
        let options = UpstreamOptions {
            ca: self.ca.clone(),
            insecure: self.insecure,
            preserve_host: self.preserve_host,
        };
        let upstream = Upstream::new(upstream, &options)
            .map_err(|error| Failure::usage(error).hint("write it like http://127.0.0.1:3000/mcp"))?;
        if self.insecure {
            output::say("warning: --insecure trusts any certificate; the server may be anyone");
        }
        let listener = Listener::bind(self.listen).await.map_err(|error| {
            Failure::usage(format!("cannot listen on {}: {error}", self.listen))
                .hint("name another address or port with --listen; port 0 takes a free one")
        })?;
        let address = listener.address().map_err(Failure::usage)?;
        if !address.ip().is_loopback() {
            output::say(&format!(
                "warning: {address} is open to other machines, and asks nobody for a password"
            ));
        }
        let guard = Guard::new(address.ip(), &self.allow_host);
        let name = name.map_or_else(|| upstream.authority().to_owned(), str::to_owned);
        let url = format!("http://{address}{}", upstream.path());
        Ok((listener, Gate::new(Arc::clone(host), upstream, guard, name), url))
    }

    /// The upstream as a tape names it.
    pub fn target(&self, upstream: &str) -> String {
        Cleaner::new().url(upstream)
    }
}
