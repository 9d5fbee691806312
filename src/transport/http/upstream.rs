//! The HTTP client of an upstream: connections by hyper, TLS by rustls with the platform's root
//! certificates, and proxies as the environment configures them.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::{BodyError, Connect, HttpBody, Sending, ServerAddress, Unanswered};
use crate::mcp::Unreached;

/// Options of the connection to an upstream.
#[derive(Debug, Clone, Default)]
pub struct UpstreamOptions {
    /// A PEM file of certificates to trust in addition to the platform's.
    pub ca: Option<PathBuf>,
    /// Accepts any certificate.
    pub insecure: bool,
    /// Leaves the client's `Host` header unchanged.
    pub preserve_host: bool,
}

/// An HTTP server that requests are sent to.
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    address: ServerAddress,
    preserve_host: bool,
    /// The credentials for an HTTP proxy that forwards single requests. A proxy that provides a tunnel
    /// gets them with its `CONNECT` request instead.
    proxy_credentials: Option<HeaderValue>,
    client: Client<Bounded<HttpsConnector<Dialer>>, HttpBody>,
}

/// The reason why the connection to an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The URL given is not that of an HTTP server, for the reason given.
    #[error("{0:?} is not the URL of an HTTP server: {1}")]
    Url(String, &'static str),
    /// The file of certificates cannot be used.
    #[error("cannot read certificates from {path}: {why}")]
    Certificates {
        /// The path of the file.
        path: String,
        /// The reason, as a text.
        why: String,
    },
    /// The TLS library refuses its configuration; the text is its error.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Time limit for establishing a connection: TCP, the tunnel of a proxy, and TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for which an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

// === impl Upstream ===

impl Upstream {
    /// Creates a client for the server at `url`. Does not connect yet.
    ///
    /// # Errors
    /// Fails if the URL is not that of an HTTP server without a user name, if the certificates cannot be
    /// used, or if TLS cannot be set up.
    pub fn new(url: &str, options: &UpstreamOptions) -> Result<Arc<Self>, UpstreamError> {
        let wrong = |why| UpstreamError::Url(url.to_owned(), why);
        let uri: Uri = url.parse().map_err(|_| wrong("it cannot be parsed"))?;
        let parts = uri.clone().into_parts();
        let scheme = parts.scheme.ok_or_else(|| wrong("it must begin with http:// or https://"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(wrong("it must begin with http:// or https://"));
        }
        let authority = parts.authority.ok_or_else(|| wrong("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it contains a user name; pass credentials in headers"));
        }
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        // Its error names the step that failed; the limit of the whole covers the other steps.
        direct.set_connect_timeout(Some(CONNECT - Duration::from_secs(1)));
        direct.set_nodelay(true);
        let proxies = Arc::new(Matcher::from_env());
        let proxy = proxies.intercept(&uri);
        let forwards = proxy.as_ref().filter(|_| uri.scheme() == Some(&Scheme::HTTP));
        let proxy_credentials = forwards.and_then(|proxy| proxy.basic_auth().cloned());
        let proxy = proxy.map(|proxy| {
            let authority = proxy.uri().authority().map(|authority| authority.as_str());
            authority.and_then(|text| text.rsplit('@').next()).unwrap_or_default().to_owned()
        });
        let dialer = Dialer { direct, proxies };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(options)?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(dialer);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_preserve_header_case(true)
            // A request is only sent again if none of it was written before its connection was closed.
            .retry_canceled_requests(true)
            .build(Bounded(connector));
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let origin = format!("{scheme}://{authority}");
        let address = ServerAddress {
            target: vec![format!("{origin}{path}")],
            origin,
            authority: authority.to_string(),
            path: path.to_string(),
            proxy,
        };
        let preserve_host = options.preserve_host;
        Ok(Arc::new(Self { scheme, authority, address, preserve_host, proxy_credentials, client }))
    }

    async fn pass(&self, mut request: Request<HttpBody>) -> Result<Response<HttpBody>, Unanswered> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query =
            Some(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.uri_mut() =
            Uri::from_parts(parts).map_err(|error| Unanswered::bad_gateway(error.to_string()))?;
        *request.version_mut() = http::Version::HTTP_11;
        if !self.preserve_host
            && let Ok(host) = HeaderValue::from_str(self.authority.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        if let Some(credentials) = &self.proxy_credentials {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let response = self.client.request(request).await.map_err(|error| self.unanswered(&error))?;
        Ok(response.map(|body| body.map_err(BodyError::from).boxed_unsync()))
    }

    fn unanswered(&self, error: &ClientError) -> Unanswered {
        let unreached = match (&self.address.proxy, error.is_connect()) {
            (Some(_), true) => Unreached::Proxy,
            (_, is_connect) => super::connect::unreached(error, is_connect),
        };
        let (authority, why) = (&self.authority, chain(error));
        // The name that hyper-util gives the error says nothing more.
        let why = why.strip_prefix("client error (Connect): ").unwrap_or(&why);
        let proxy = self.address.proxy.as_ref();
        let through = proxy.map(|proxy| format!(" through the proxy {proxy} of the environment"));
        let through = through.unwrap_or_default();
        Unanswered::bad_gateway(match error.is_connect() {
            true => format!("the upstream {authority} cannot be reached{through}: {why}"),
            false => {
                format!("the upstream {authority} closed the connection{through} before it responded: {why}")
            }
        })
        .with_data(serde_json::json!({ Unreached::KEY: unreached.as_str() }))
    }
}

impl Connect for Upstream {
    /// Sends the request with its own path, query, method and headers.
    fn send(&self, request: Request<HttpBody>) -> Sending<'_> {
        Box::pin(self.pass(request))
    }

    fn address(&self) -> &ServerAddress {
        &self.address
    }
}

/// Joins an error and all its sources in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

fn tls(options: &UpstreamOptions) -> Result<ClientConfig, UpstreamError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| UpstreamError::Tls(error.to_string()))?;
    if options.insecure {
        let verifier = Arc::new(Trusting(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let Some(ca) = &options.ca else {
        let rooted = builder.with_native_roots().map_err(|error| UpstreamError::Tls(error.to_string()))?;
        return Ok(rooted.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    // Certificates of the platform that cannot be read are missed only by servers that need them.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| unreadable(ca, &error.to_string()))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, UpstreamError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unreadable(path, &error.to_string()))?;
    if found.is_empty() {
        return Err(unreadable(path, "it contains no PEM certificate"));
    }
    Ok(found)
}

fn unreadable(path: &Path, why: &str) -> UpstreamError {
    UpstreamError::Certificates { path: path.display().to_string(), why: why.to_owned() }
}

/// A verifier that accepts every certificate: `--insecure`.
#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connector that connects directly, or through the proxy that `HTTP_PROXY`, `HTTPS_PROXY`,
/// `ALL_PROXY` and `NO_PROXY` configure.
#[derive(Clone)]
struct Dialer {
    direct: HttpConnector,
    proxies: Arc<Matcher>,
}

/// A connection, with a flag that is set if an HTTP proxy forwards its single requests.
struct Line {
    stream: TokioIo<TcpStream>,
    by_proxy: bool,
}

impl tower_service::Service<Uri> for Dialer {
    type Response = Line;
    type Error = BodyError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, BodyError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let mut direct = self.direct.clone();
        let proxy = self.proxies.intercept(&target);
        Box::pin(async move {
            let line = |stream, by_proxy| Line { stream, by_proxy };
            match proxy {
                None => Ok(line(direct.call(target).await?, false)),
                Some(proxy) if target.scheme() == Some(&Scheme::HTTPS) => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
                    if let Some(credentials) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(credentials.clone());
                    }
                    Ok(line(tunnel.call(target).await?, false))
                }
                Some(proxy) => Ok(line(direct.call(proxy.uri().clone()).await?, true)),
            }
        })
    }
}

/// A connector with one time limit for everything before the first byte of a request.
#[derive(Clone)]
struct Bounded<C>(C);

impl<C> tower_service::Service<Uri> for Bounded<C>
where
    C: tower_service::Service<Uri, Error = BodyError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BodyError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BodyError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.0.call(target);
        Box::pin(async move {
            tokio::time::timeout(CONNECT, connecting)
                .await
                .unwrap_or_else(|_| Err(format!("no connection within {CONNECT:?}").into()))
        })
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.by_proxy)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}
