//! The access token for one MCP server: found, saved, and renewed before it expires.
//!
//! Discovery, renewal and consent take time: each is done once for all requests that wait for it,
//! and continues when they are cancelled.

use super::discovery::same_issuer;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use url::Url;

use super::consent::{ConsentRequest, RedirectListener};
use super::discovery::{Challenge, Discovery, covers, discover};
use super::exchange::{self, Grant};
use super::registration::{Registration, register};
use super::store::{TokenStore, Tokens};
use super::web::allowed;
use super::{LoginError, Web, WebError};
use crate::clock::{Clock, Stamp};

/// Options of a login.
#[derive(Clone, Default)]
pub struct LoginOptions {
    /// Client id that the authorization server gave to the person, or the URL of a client id
    /// metadata document (2025-11-25, client id metadata documents).
    pub client_id: Option<String>,
    /// Client secret; never saved, and sent only to `issuer`.
    pub client_secret: Option<String>,
    /// Only authorization server to log in at; `None` allows any that the MCP server names.
    pub issuer: Option<String>,
    /// Scopes to request in addition to those that the server names, separated by spaces.
    pub scope: Option<String>,
    /// `true` to open a browser.
    pub browser: bool,
    /// `true` if a person is at a terminal and can paste an answer.
    pub terminal: bool,
    /// Directory of the token files.
    pub directory: PathBuf,
}

/// Callback that shows a text to the person. The flag is `true` if it may be printed, since no screen has the terminal;
/// otherwise only the first line is suitable for a record.
pub type ShowText = Box<dyn Fn(&str, bool) + Send + Sync>;

/// The access token for one MCP server, and the means to obtain and renew it.
pub struct TokenManager {
    me: Weak<Self>,
    web: Web,
    url: Url,
    options: LoginOptions,
    store: TokenStore,
    clock: Clock,
    tell: ShowText,
    /// `true` if a person is at a terminal that may be read.
    terminal: AtomicBool,
    /// `true` once a screen has the terminal, so that nothing may be printed.
    has_left: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Pending discovery, renewal or consent.
    under_way: Option<Shared<BoxFuture<'static, Result<(), LoginError>>>>,
    /// Time of the last failed renewal; time and error of the last failed consent.
    not_renewed: Option<Stamp>,
    not_asked: Option<(Stamp, LoginError)>,
}

/// The current token.
#[derive(Clone)]
struct Current {
    tokens: Tokens,
    found: Discovery,
    /// Time at which the person authorized it; `None` if it was loaded or renewed.
    asked: Option<Stamp>,
    /// Set once it was renewed because the server refused it although it was new.
    was_retried: bool,
}

/// Time after a failed attempt during which no other attempt is made.
const REST: Duration = Duration::from_secs(30);
/// Age below which a refused token is not replaced: a server that refuses so new a token would
/// refuse the next one as well.
const FRESH: Duration = Duration::from_secs(5 * 60);

impl TokenManager {
    /// Creates a manager for the MCP server at `url`, without a token.
    ///
    /// # Errors
    /// If a token may not be sent to `url` (neither https nor on this machine), if a secret is
    /// given without the issuer that it is for, or if the directory cannot be used.
    pub fn new(
        web: Web,
        url: &str,
        options: LoginOptions,
        clock: Clock,
        tell: ShowText,
    ) -> Result<Arc<Self>, LoginError> {
        let url = allowed(url)?;
        if options.client_secret.is_some() && options.issuer.is_none() {
            return Err(LoginError::SecretForAnyone);
        }
        let store = TokenStore::open(options.directory.clone())?;
        let terminal = AtomicBool::new(options.terminal);
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            web,
            url,
            options,
            store,
            clock,
            tell,
            terminal,
            has_left: AtomicBool::new(false),
            state: Mutex::default(),
        }))
    }

    /// Keeps later authorizations from using the terminal, which belongs to another part of the
    /// program from now on.
    pub fn leave_terminal(&self) {
        self.terminal.store(false, Ordering::Release);
        self.has_left.store(true, Ordering::Release);
    }

    /// Sends a `ping` to find out if the server requires a token, and obtains one in that case.
    /// Returns `true` if it does.
    ///
    /// # Errors
    /// [`LoginError`] if the server cannot be reached or no token is obtained.
    pub async fn look_ahead(&self) -> Result<bool, LoginError> {
        let mut request =
            http::Request::new(br#"{"jsonrpc":"2.0","id":"sc-login","method":"ping"}"#.to_vec());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.as_str().parse().map_err(|_| WebError::NoUrl(self.url.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let both = http::HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(http::header::ACCEPT, both);
        let (status, headers) = self.web.head(request).await?;
        if status != 401 {
            return Ok(false);
        }
        let challenge = Challenge::of(&headers).unwrap_or_default();
        self.renew(None, &challenge).await.map(|()| true)
    }

    /// Returns the access token for a request to `path`; `None` if the server has not asked for one
    /// yet, or if the token does not cover `path`. A token that expires soon is renewed in the
    /// background.
    pub fn token(&self, path: &str) -> Option<String> {
        let current = self.state.lock().current.clone()?;
        let mut place = self.url.clone();
        place.set_path(path.split('?').next().unwrap_or(path));
        if !covers(&current.found.resource, &place) {
            return None;
        }
        if self.ends_soon(&current.tokens) && current.tokens.refresh.is_some() {
            // A request whose old token is refused waits for this renewal.
            drop(self.start(Want::Renewal));
        }
        Some(current.tokens.access)
    }

    /// Obtains another token because the server sent `challenge`, or refused the token `refused`.
    /// The person is asked for consent if nothing else succeeds.
    ///
    /// # Errors
    /// [`LoginError`] if no other token is obtained.
    pub async fn renew(&self, refused: Option<&str>, challenge: &Challenge) -> Result<(), LoginError> {
        for _ in 0..2 {
            if self.has_other(refused) {
                return Ok(());
            }
            let before = self.state.lock().under_way.clone();
            match before {
                // The pending task may serve another challenge: check afterwards if a token is
                // still needed.
                Some(under_way) => under_way.await?,
                None => {
                    let want =
                        Want::Token { refused: refused.map(str::to_owned), challenge: challenge.clone() };
                    return self.start(want).await;
                }
            }
        }
        match self.has_other(refused) {
            true => Ok(()),
            false => Err(LoginError::Again),
        }
    }

    /// Returns `true` if there is a token other than the refused one.
    fn has_other(&self, refused: Option<&str>) -> bool {
        let state = self.state.lock();
        state.current.as_ref().is_some_and(|current| Some(current.tokens.access.as_str()) != refused)
    }

    /// Starts a task for `want`, or returns the pending one. The task continues if its callers are
    /// cancelled.
    fn start(&self, want: Want) -> Shared<BoxFuture<'static, Result<(), LoginError>>> {
        let mut state = self.state.lock();
        if let Some(under_way) = &state.under_way {
            return under_way.clone();
        }
        let me = self.me.clone();
        let task = tokio::spawn(async move {
            let Some(tokens) = me.upgrade() else { return Err(LoginError::Again) };
            let done = tokens.get(want).await;
            tokens.state.lock().under_way = None;
            done
        });
        let under_way = async move { task.await.unwrap_or(Err(LoginError::Again)) }.boxed().shared();
        state.under_way = Some(under_way.clone());
        under_way
    }

    async fn get(&self, want: Want) -> Result<(), LoginError> {
        let now = self.clock.now();
        let current = self.state.lock().current.clone();
        let (refused, challenge) = match (want, current.clone()) {
            (Want::Renewal, Some(current)) => return self.renew_current(&current).await,
            (Want::Renewal, None) => return Ok(()),
            (Want::Token { refused, challenge }, _) => (refused, challenge),
        };
        let more = challenge.error.as_deref() == Some("insufficient_scope");
        let found = discover(&self.web, &self.url, &challenge).await?;
        if let Some(issuer) =
            self.options.issuer.as_ref().filter(|issuer| !same_issuer(issuer, &found.server.issuer))
        {
            return Err(LoginError::OtherIssuer(found.server.issuer, issuer.clone()));
        }
        if let (None, Some(called)) = (&current, &found.server.called) {
            let issuer = &found.server.issuer;
            self.tell(&format!(
                "the issuer {called} calls itself {issuer}: they differ by a trailing slash only, and are taken for one"
            ));
        }
        // The server refuses a token that was just authorized: another of the same kind would not
        // help.
        let is_fresh = |current: &Current| {
            current.asked.is_some_and(|asked| now.since(asked) < FRESH)
                && !self.ends_soon(&current.tokens)
                && current.found.server.issuer == found.server.issuer
        };
        if let Some(current) = current.as_ref().filter(|current| is_fresh(current))
            && (!more || covers_scope(current.tokens.scope.as_deref(), challenge.scope.as_deref()))
        {
            // A server that was restarted in the meantime has forgotten the token, and knows the grant: try once.
            let retries = !more && !current.was_retried && current.tokens.refresh.is_some();
            if !retries || self.renew_current(current).await.is_err() {
                return Err(LoginError::Again);
            }
            if let Some(renewed) = &mut self.state.lock().current {
                (renewed.asked, renewed.was_retried) = (current.asked, true);
            }
            return Ok(());
        }
        let kept = self.store.tokens(&found.server.issuer, &found.resource);
        let kept =
            kept.map(|tokens| Current { tokens, found: found.clone(), asked: None, was_retried: false });
        if let Some(kept) = kept.filter(|_| !more) {
            if refused.as_deref() != Some(kept.tokens.access.as_str()) && !self.ends_soon(&kept.tokens) {
                self.state.lock().current = Some(kept);
                return Ok(());
            }
            // If the renewal fails, the person is asked for consent.
            if kept.tokens.refresh.is_some() && self.renew_current(&kept).await.is_ok() {
                return Ok(());
            }
        }
        if let Some((at, why)) = self.state.lock().not_asked.clone()
            && now.since(at) < REST
        {
            return Err(why);
        }
        let asked = self.authorize(found, &challenge, current.and_then(|current| current.tokens.scope)).await;
        self.state.lock().not_asked = asked.as_ref().err().map(|error| (self.clock.now(), error.clone()));
        asked
    }

    fn ends_soon(&self, tokens: &Tokens) -> bool {
        tokens.renew.is_some_and(|renew| renew <= self.clock.wall(self.clock.now()))
    }

    /// Renews a token, once for all processes that share the store.
    async fn renew_current(&self, current: &Current) -> Result<(), LoginError> {
        let now = self.clock.now();
        if self.state.lock().not_renewed.is_some_and(|at| now.since(at) < REST) {
            return Err(LoginError::Token("renewal failed recently".into()));
        }
        let renewed = self.exchange_refresh(current).await;
        self.state.lock().not_renewed = renewed.is_err().then(|| self.clock.now());
        if let Err(error) = &renewed {
            self.tell(&format!("the token could not be renewed: {error}"));
        }
        renewed
    }

    async fn exchange_refresh(&self, current: &Current) -> Result<(), LoginError> {
        let Current { found, tokens, .. } = current;
        // Another process may have renewed it: using the old refresh token again would revoke both.
        let lock = self.store.lock(&found.server.issuer).await?;
        let kept = self.store.tokens(&found.server.issuer, &found.resource);
        let newest = kept.unwrap_or_else(|| tokens.clone());
        if newest.access != tokens.access && !self.ends_soon(&newest) {
            self.state.lock().current =
                Some(Current { tokens: newest, found: found.clone(), asked: None, was_retried: false });
            return Ok(());
        }
        let Some(refresh) = newest.refresh.clone() else {
            return Err(LoginError::Token("there is no refresh token".into()));
        };
        let registration = newest.registration.clone().with_secret(self.options.client_secret.as_deref());
        let grant = exchange::refresh(&self.web, found, &registration, &refresh).await?;
        // Without a new refresh token in the answer, the old one stays valid.
        let grant =
            Grant { refresh: grant.refresh.or(Some(refresh)), scope: grant.scope.or(newest.scope), ..grant };
        self.keep(found, registration, grant, None);
        drop(lock);
        Ok(())
    }

    /// Asks the person for consent and redeems the code.
    async fn authorize(
        &self,
        found: Discovery,
        challenge: &Challenge,
        before: Option<String>,
    ) -> Result<(), LoginError> {
        let server = &found.server;
        if !server.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(LoginError::NoPkce(server.issuer.clone()));
        }
        let scope = self.scope(&found, challenge, before.as_deref());
        let listener = RedirectListener::open().await?;
        // Register anew: the server may have forgotten an earlier id, and would report that only to
        // the browser.
        let registration = match &self.options.client_id {
            Some(id) => Registration::given(
                id,
                self.options.client_secret.as_deref(),
                server,
                listener.redirect_uri(),
            ),
            None => register(&self.web, server, listener.redirect_uri(), scope.as_deref()).await?,
        };
        let asking = exchange::ask(&found, &registration, scope.as_deref())?;
        let terminal = self.terminal.load(Ordering::Acquire);
        if !terminal {
            self.store.note(&format!("{}\n", asking.url))?;
        }
        let question = ConsentRequest {
            url: &asking.url,
            state: &asking.state,
            server,
            browser: self.options.browser,
            terminal,
            note: self.store.note_path(),
        };
        let code = listener.ask(question, |text| self.tell(text)).await?;
        let grant = exchange::redeem(&self.web, &found, &registration, asking, code).await?;
        let grant = Grant { scope: grant.scope.or(scope), ..grant };
        let issuer = server.issuer.clone();
        self.keep(&found, registration, grant, Some(self.clock.now()));
        self.tell(&format!("logged in at {issuer}"));
        Ok(())
    }

    /// Returns the scopes to request: those granted before (a step-up keeps them), those of the
    /// options, those of the challenge or else all that the server lists, and `offline_access` if
    /// it is supported (2026-07-28, scope selection strategy).
    fn scope(&self, found: &Discovery, challenge: &Challenge, before: Option<&str>) -> Option<String> {
        let named = challenge.scope.clone().or_else(|| Some(found.scopes.as_ref()?.join(" ")));
        let offline = found.server.scopes_supported.iter().any(|scope| scope == "offline_access");
        let all =
            [before, self.options.scope.as_deref(), named.as_deref(), offline.then_some("offline_access")];
        let mut scopes: Vec<&str> = Vec::new();
        for scope in all.iter().flatten().flat_map(|all| all.split_whitespace()) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        (!scopes.is_empty()).then(|| scopes.join(" "))
    }

    /// Makes a granted token the current one, even if it cannot be saved.
    fn keep(&self, found: &Discovery, registration: Registration, grant: Grant, asked: Option<Stamp>) {
        let now = self.clock.wall(self.clock.now());
        let Grant { access, refresh, lasts, scope } = grant;
        let tokens = Tokens {
            access,
            refresh,
            renew: lasts.map(|lasts| now.saturating_add(renew_after(lasts))),
            scope,
            registration: registration.without_secret(self.options.client_secret.as_deref()),
        };
        if let Err(error) = self.store.keep(&found.server.issuer, &found.resource, &tokens) {
            self.tell(&format!("{error}; the next start requires another login"));
        }
        self.state.lock().current = Some(Current { tokens, found: found.clone(), asked, was_retried: false });
    }

    fn tell(&self, text: &str) {
        (self.tell)(text, !self.has_left.load(Ordering::Acquire));
    }
}

/// Task to be done about the token.
enum Want {
    /// Renew the current token, which expires soon.
    Renewal,
    /// Obtain a token that the server asks for, or one in place of the refused one.
    Token { refused: Option<String>, challenge: Challenge },
}

/// Returns the time in microseconds after which a token with the lifetime `lasts` is renewed: one
/// minute before it expires, but not before the last quarter of its lifetime.
fn renew_after(lasts: Duration) -> u64 {
    const EARLY: Duration = Duration::from_secs(60);
    let early = EARLY.min(lasts / 4);
    u64::try_from((lasts - early).as_micros()).unwrap_or(u64::MAX)
}

/// Returns `true` if all wanted scopes were granted.
fn covers_scope(granted: Option<&str>, wanted: Option<&str>) -> bool {
    let granted: Vec<&str> = granted.unwrap_or_default().split_whitespace().collect();
    wanted.unwrap_or_default().split_whitespace().all(|scope| granted.contains(&scope))
}
