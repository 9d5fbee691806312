//! The token of one server: found, kept, and renewed before it ends.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, PkceCodeChallenge, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    TokenResponse, TokenUrl,
};
use url::Url;

use super::consent::{Door, Question};
use super::discovery::{Challenge, Found, discover};
use super::registration::{Registration, register};
use super::store::{Kept, Store, Tokens};
use super::web::allowed;
use super::{LoginError, Web, WebError};
use crate::clock::{Clock, Stamp};

/// How a person wants to log in.
#[derive(Clone, Default)]
pub struct Options {
    /// The id that the authorization server gave to the person, or the URL of a document that stands
    /// for it (2025-11-25, client id metadata documents).
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    /// Scopes to ask for whatever the server says.
    pub scope: Option<String>,
    /// Opens a browser.
    pub browser: bool,
    /// Where tokens are kept.
    pub directory: PathBuf,
}

/// Tells the person something; whether they are at a terminal that we may use. Only the first line
/// is fit to be kept.
pub type Tell = Box<dyn Fn(&str, bool) + Send + Sync>;

/// Keeps the token for one server.
pub struct Keeper {
    web: Web,
    url: Url,
    options: Options,
    store: Store,
    clock: Clock,
    tell: Tell,
    /// Someone is at a terminal that we may read.
    terminal: AtomicBool,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<Found>,
    kept: Kept,
    /// The last attempt that failed, so that not every request asks the person again.
    failed: Option<(Stamp, String)>,
}

/// A request of the oauth2 crate under way.
type Carried = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send>>;

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// A token is renewed this long before it ends, but not before the last quarter of its life.
const EARLY: Duration = Duration::from_secs(60);
/// After an attempt that failed, nobody is asked for this long.
const REST: Duration = Duration::from_secs(30);

impl Keeper {
    /// A keeper for the server at `url`, which has no token yet.
    ///
    /// # Errors
    /// When `url` may not be sent a token: it is neither https nor on this machine.
    pub fn new(web: Web, url: &str, options: Options, clock: Clock, tell: Tell) -> Result<Self, LoginError> {
        let url = allowed(url)?;
        let store = Store::new(options.directory.clone());
        let (terminal, state) = (AtomicBool::new(true), tokio::sync::Mutex::default());
        Ok(Self { web, url, options, store, clock, tell, terminal, state })
    }

    /// The terminal belongs to someone else from now on: nothing is read from it any more.
    pub fn leave_terminal(&self) {
        self.terminal.store(false, Ordering::Release);
    }

    /// Asks the server whether it wants a token, and gets one. Returns whether it does.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn look_ahead(&self) -> Result<bool, LoginError> {
        let mut request =
            http::Request::new(br#"{"jsonrpc":"2.0","id":"sc-login","method":"ping"}"#.to_vec());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.as_str().parse().map_err(|_| WebError::NoUrl(self.url.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let both = http::HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(http::header::ACCEPT, both);
        let answer = self.web.send(request).await?;
        if answer.status != 401 {
            return Ok(false);
        }
        let challenge = Challenge::of(&answer.headers).unwrap_or_default();
        self.renew(None, &challenge).await.map(|()| true)
    }

    /// The access token, renewed where it is about to end; none before the server asked for one.
    pub async fn token(&self) -> Option<String> {
        let mut state = self.state.lock().await;
        let resource = state.found.as_ref()?.resource.clone();
        let tokens = state.kept.tokens.get(&resource)?.clone();
        if self.ends_soon(&tokens) && tokens.refresh.is_some() {
            // With the old one, the server says what is wrong.
            if let Err(error) = self.refresh(&mut state, &tokens).await {
                self.tell(&format!("the token could not be renewed: {error}"));
            }
        }
        state.kept.tokens.get(&resource).map(|tokens| tokens.access.clone())
    }

    /// Gets another token, since the server asks for one with `challenge`, or refused `refused`.
    ///
    /// # Errors
    /// [`LoginError`]; nobody is asked again for a while then.
    pub async fn renew(&self, refused: Option<&str>, challenge: &Challenge) -> Result<(), LoginError> {
        let mut state = self.state.lock().await;
        if let Some((at, why)) = &state.failed
            && self.clock.now().since(*at) < REST
        {
            return Err(LoginError::Refused(why.clone()));
        }
        let renewed = self.get(&mut state, refused, challenge).await;
        state.failed = renewed.as_ref().err().map(|error| (self.clock.now(), error.to_string()));
        renewed
    }

    async fn get(
        &self,
        state: &mut State,
        refused: Option<&str>,
        challenge: &Challenge,
    ) -> Result<(), LoginError> {
        let found = discover(&self.web, &self.url, challenge).await?;
        if state.kept.issuer != found.server.issuer {
            state.kept = self.store.load(&found.server.issuer);
        }
        let resource = found.resource.clone();
        state.found = Some(found.clone());
        let more = challenge.error.as_deref() == Some("insufficient_scope");
        if let Some(tokens) = state.kept.tokens.get(&resource).cloned().filter(|_| !more) {
            let fresh = refused != Some(tokens.access.as_str());
            if fresh && !self.ends_soon(&tokens) {
                return Ok(());
            }
            // Where that is refused as well, the person is asked.
            if tokens.refresh.is_some() && self.refresh(state, &tokens).await.is_ok() {
                return Ok(());
            }
        }
        self.authorize(state, &found, challenge).await
    }

    fn tell(&self, text: &str) {
        (self.tell)(text, self.terminal.load(Ordering::Acquire));
    }

    fn ends_soon(&self, tokens: &Tokens) -> bool {
        let now = self.clock.wall(self.clock.now());
        tokens.renew.is_some_and(|renew| renew <= now)
    }

    async fn refresh(&self, state: &mut State, tokens: &Tokens) -> Result<(), LoginError> {
        let (Some(found), Some(registration), Some(refresh)) =
            (state.found.clone(), state.kept.registration.clone(), tokens.refresh.clone())
        else {
            return Err(LoginError::Token("there is nothing to renew it with".into()));
        };
        let client = client(&found, &registration)?;
        let token = RefreshToken::new(refresh);
        let request = client.exchange_refresh_token(&token).add_extra_param("resource", &found.resource);
        let answer = request.request_async(&self.carrier()).await.map_err(refused_token)?;
        // A server that does not give another lets the old one live.
        self.keep(state, &found, &answer, tokens.refresh.clone(), tokens.scope.clone())
    }

    /// Asks the person.
    async fn authorize(
        &self,
        state: &mut State,
        found: &Found,
        challenge: &Challenge,
    ) -> Result<(), LoginError> {
        let server = &found.server;
        if !server.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(LoginError::NoPkce(server.issuer.clone()));
        }
        let before = state.kept.tokens.get(&found.resource).and_then(|tokens| tokens.scope.clone());
        let scope = self.scope(found, challenge, before.as_deref());
        let door = Door::open().await?;
        // An id that the server gave out earlier it may have forgotten, and it would only tell the
        // browser; and our port is another one.
        let registration = match &self.options.client_id {
            Some(id) => {
                Registration::given(id, self.options.client_secret.as_deref(), server, door.redirect_uri())
            }
            None => register(&self.web, server, door.redirect_uri(), scope.as_deref()).await?,
        };
        state.kept.registration = Some(registration.clone());
        self.store.save(&state.kept)?;
        let client = client(found, &registration)?;
        let (proof, verifier) = PkceCodeChallenge::new_random_sha256();
        let asking = client.authorize_url(CsrfToken::new_random).set_pkce_challenge(proof);
        let asking = asking.add_extra_param("resource", &found.resource);
        let scopes =
            scope.iter().flat_map(|scope| scope.split(' ')).map(|scope| Scope::new(scope.to_owned()));
        let (url, csrf) = asking.add_scopes(scopes).url();
        let question = Question {
            url: &url,
            state: csrf.secret(),
            server,
            browser: self.options.browser,
            terminal: self.terminal.load(Ordering::Acquire),
        };
        let code = door.ask(&question, &|text| self.tell(text)).await?;
        let exchange = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        let exchange = exchange.add_extra_param("resource", &found.resource);
        let answer = exchange.request_async(&self.carrier()).await.map_err(refused_token)?;
        self.keep(state, found, &answer, None, scope)?;
        self.tell(&format!("logged in at {}", server.issuer));
        Ok(())
    }

    /// What to ask for: what the challenge says, else all that the server knows; and what was granted
    /// before, so that a step up is no step back (2026-07-28, scope selection strategy).
    fn scope(&self, found: &Found, challenge: &Challenge, before: Option<&str>) -> Option<String> {
        let named = challenge.scope.clone().or_else(|| Some(found.scopes.as_ref()?.join(" ")));
        let offline = found.server.scopes_supported.iter().any(|scope| scope == "offline_access");
        let all =
            [before, self.options.scope.as_deref(), named.as_deref(), offline.then_some("offline_access")];
        let mut scopes: Vec<&str> = Vec::new();
        for scope in all.iter().flatten().flat_map(|all| all.split(' ')).filter(|scope| !scope.is_empty()) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        (!scopes.is_empty()).then(|| scopes.join(" "))
    }

    fn keep(
        &self,
        state: &mut State,
        found: &Found,
        answer: &BasicTokenResponse,
        refresh: Option<String>,
        scope: Option<String>,
    ) -> Result<(), LoginError> {
        let now = self.clock.wall(self.clock.now());
        let granted = answer
            .scopes()
            .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
        let tokens = Tokens {
            access: answer.access_token().secret().clone(),
            refresh: answer.refresh_token().map(|token| token.secret().clone()).or(refresh),
            renew: answer.expires_in().map(|lasts| {
                let early = EARLY.min(lasts / 4);
                now + u64::try_from((lasts - early).as_micros()).unwrap_or(u64::MAX / 2)
            }),
            scope: granted.or(scope),
        };
        state.kept.tokens.insert(found.resource.clone(), tokens);
        self.store.save(&state.kept)
    }

    /// Carries requests of the oauth2 crate.
    fn carrier(&self) -> impl Fn(HttpRequest) -> Carried + Send + Sync + 'static {
        let web = self.web.clone();
        move |request| {
            let web = web.clone();
            Box::pin(async move {
                let answer = web.send(request).await?;
                let mut response = http::Response::new(answer.body);
                *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
                *response.headers_mut() = answer.headers;
                Ok(response)
            })
        }
    }
}

fn client(found: &Found, registration: &Registration) -> Result<Client, LoginError> {
    let url = |_| WebError::NoUrl(found.server.token_endpoint.clone());
    let mut client = BasicClient::new(ClientId::new(registration.client_id.clone()))
        .set_auth_uri(AuthUrl::new(found.server.authorization_endpoint.clone()).map_err(url)?)
        .set_token_uri(TokenUrl::new(found.server.token_endpoint.clone()).map_err(url)?)
        .set_redirect_uri(RedirectUrl::new(registration.redirect_uri.clone()).map_err(url)?)
        .set_auth_type(match registration.token_endpoint_auth_method.as_str() {
            "client_secret_basic" => AuthType::BasicAuth,
            _ => AuthType::RequestBody,
        });
    if let Some(secret) =
        registration.client_secret.as_ref().filter(|_| registration.token_endpoint_auth_method != "none")
    {
        client = client.set_client_secret(ClientSecret::new(secret.clone()));
    }
    Ok(client)
}

fn refused_token(error: RequestTokenError<WebError, BasicErrorResponse>) -> LoginError {
    match error {
        RequestTokenError::ServerResponse(said) => LoginError::Token(said.to_string()),
        RequestTokenError::Request(error) => error.into(),
        // What it said may hold a token.
        RequestTokenError::Parse(error, _) => {
            LoginError::Token(format!("its answer cannot be read: {error}"))
        }
        RequestTokenError::Other(why) => LoginError::Token(why),
    }
}
