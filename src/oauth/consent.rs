//! Authorization by a person: a browser that is redirected to a local port (RFC 8252, 7.3), or an
//! answer that the person pastes.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::Html;
use axum::routing::get;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::{Url, form_urlencoded};

use super::discovery::AuthorizationServer;
use super::{LoginError, printable};

/// Local port to which the authorization server redirects the browser.
pub struct RedirectListener {
    listener: TcpListener,
    redirect_uri: String,
}

/// An authorization request, and the ways to present it to the person.
pub struct ConsentRequest<'a> {
    /// Address of the authorization server's page.
    pub url: &'a Url,
    /// Value of `state`, which only an answer to this request can contain.
    pub state: &'a str,
    /// Metadata of the authorization server.
    pub server: &'a AuthorizationServer,
    /// `true` to open a browser.
    pub browser: bool,
    /// `true` if a person is at a terminal and can paste an answer.
    pub terminal: bool,
    /// File that contains the address if there is no terminal.
    pub note: PathBuf,
}

/// Signals on drop that the authorization request is over.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Time limit for the answer of the person.
const CONSENT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const PATH: &str = "/callback";

impl RedirectListener {
    /// Opens a port on the loopback interface.
    ///
    /// # Errors
    /// [`LoginError::Listen`] if no port can be opened.
    pub async fn open() -> Result<Self, LoginError> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| LoginError::Listen(error.to_string()))?;
        let port = listener.local_addr().map_err(|error| LoginError::Listen(error.to_string()))?.port();
        Ok(Self { listener, redirect_uri: format!("http://127.0.0.1:{port}{PATH}") })
    }

    /// Returns the redirect URI, which leads to this port.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Presents the request to the person and waits for the authorization code. Messages for the
    /// person go to `tell`.
    ///
    /// # Errors
    /// [`LoginError::Refused`] if the person or the server refuses, or if the answer comes from
    /// another server; [`LoginError::Patience`] if no answer arrives within 10 minutes.
    pub async fn ask(
        self,
        question: ConsentRequest<'_>,
        tell: impl Fn(&str) + Sync,
    ) -> Result<String, LoginError> {
        let opened = question.browser && browse(question.url);
        let issuer = &question.server.issuer;
        match (opened, question.terminal) {
            (true, true) => tell(&format!(
                "authorize at {issuer}: a browser was opened. If it does not come back by itself, open this address, \
                 and paste here where it sends you:\n  {}",
                question.url
            )),
            (false, true) => tell(&format!(
                "authorize at {issuer}: open this address in a browser. If it does not come back by itself, paste \
                 here where it sends you:\n  {}",
                question.url
            )),
            (true, false) => tell(&format!(
                "authorize at {issuer}: a browser was opened; if none appears, the address is in {}",
                question.note.display()
            )),
            (false, false) => tell(&format!(
                "authorize at {issuer}: open the address in {} with a browser of this machine",
                question.note.display()
            )),
        }
        let (sender, mut answers) = mpsc::channel::<String>(4);
        let asked = Asked { state: question.state.to_owned(), answers: sender.clone() };
        let router = Router::new().route(PATH, get(come_back)).with_state(Arc::new(asked));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async {
            // `Err` means that the sender was dropped: stop too.
            let _ = stopped.await;
        });
        let mut serving = tokio::spawn(async move { serving.await });
        let over = Over(Arc::default());
        if question.terminal {
            let (over, sender) = (Arc::clone(&over.0), sender);
            // A separate thread, since the end of the program does not wait for it.
            std::thread::spawn(move || paste(&over, &sender));
        }
        let answered = async {
            loop {
                let Some(answer) = answers.recv().await else { std::future::pending().await };
                match judge(&answer, &question) {
                    // A person may paste any text by mistake: say so and wait for another answer.
                    Err(LoginError::Untrusted(why)) => tell(&why),
                    decided => return decided,
                }
            }
        };
        let outcome = tokio::time::timeout(CONSENT_TIMEOUT, answered).await;
        drop((over, stop));
        // Let the browser read the final page.
        if tokio::time::timeout(Duration::from_secs(1), &mut serving).await.is_err() {
            serving.abort();
        }
        outcome.unwrap_or(Err(LoginError::Patience(CONSENT_TIMEOUT.as_secs() / 60)))
    }
}

struct Asked {
    state: String,
    answers: mpsc::Sender<String>,
}

async fn come_back(
    State(asked): State<Arc<Asked>>,
    method: Method,
    RawQuery(query): RawQuery,
) -> (StatusCode, Html<&'static str>) {
    let query = query.unwrap_or_default();
    let parameters = parameters(&query);
    let answers = parameters.contains_key("code") || parameters.contains_key("error");
    if method != Method::GET || !answers || parameters.get("state") != Some(&asked.state) {
        // The request does not belong to this authorization: it must not end it.
        return (
            StatusCode::BAD_REQUEST,
            Html("<p>This request does not belong to a pending authorization."),
        );
    }
    // `Err` means that the request is decided already; the answer is not needed.
    let _ = asked.answers.try_send(format!("?{query}"));
    let page = match parameters.contains_key("error") {
        true => "<title>Shadowcat</title><p>Authorization was refused; see the terminal.",
        false => "<title>Shadowcat</title><p>Thank you. You can close this page and go back to the terminal.",
    };
    (StatusCode::OK, Html(page))
}

/// Checks an answer, which is the address that the browser was sent to, and returns its code. A
/// code alone is not accepted, since nothing ties it to the request and to the server.
fn judge(answer: &str, question: &ConsentRequest<'_>) -> Result<String, LoginError> {
    let server = question.server;
    let untrusted = |why: &str| Err(LoginError::Untrusted(why.to_owned()));
    let Some((_, query)) = answer.split_once('?') else {
        return untrusted("paste the whole address that the browser was sent to, with its ?code=…&state=…");
    };
    let parameters = parameters(query.split('#').next().unwrap_or(query));
    let of = |name: &str| parameters.get(name).map(String::as_str);
    if of("state") != Some(question.state) {
        return untrusted("it answers another question (its state is not the one that was sent)");
    }
    // RFC 9207, 2.4: an answer from another server must not be taken for one from this server. The name is
    // compared as it is, without normalization (SEP-2468).
    match of("iss") {
        Some(issuer) if issuer != server.issuer => {
            return Err(LoginError::Refused(printable(&format!(
                "the answer comes from {issuer}, not from {}",
                server.issuer
            ))));
        }
        None if server.authorization_response_iss_parameter_supported => {
            return Err(LoginError::Refused("the answer does not say which server it comes from".into()));
        }
        _ => {}
    }
    match (of("code"), of("error")) {
        (_, Some(error)) => {
            let why = of("error_description").map_or_else(String::new, |why| format!(": {why}"));
            Err(LoginError::Refused(printable(&format!("{error}{why}"))))
        }
        (Some(code), None) => Ok(code.to_owned()),
        (None, None) => untrusted("it contains no code"),
    }
}

fn parameters(query: &str) -> HashMap<String, String> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Opens a browser without a shell and without waiting for it. Returns `true` if one was started.
fn browse(url: &Url) -> bool {
    // The URL was checked before; with this scheme it cannot be taken for a command-line option.
    if !matches!(url.scheme(), "http" | "https") {
        return false;
    }
    let named = std::env::var("BROWSER").ok().filter(|named| !named.is_empty());
    let programs = match &named {
        Some(named) => named.split(':').map(str::to_owned).collect(),
        None if cfg!(target_os = "macos") => vec!["open".to_owned()],
        None if std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some() => {
            vec!["xdg-open".to_owned()]
        }
        None => Vec::new(),
    };
    programs.iter().any(|program| {
        let mut words = shell_words::split(program).unwrap_or_default();
        match words.iter_mut().find(|word| word.contains("%s")) {
            Some(word) => *word = word.replace("%s", url.as_str()),
            None => words.push(url.to_string()),
        }
        let Some((program, arguments)) = words.split_first() else { return false };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_remove("SHADOWCAT_CLIENT_SECRET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match command.spawn() {
            Ok(mut child) => {
                // Reap the process when it ends.
                std::thread::spawn(move || child.wait());
                true
            }
            Err(_) => false,
        }
    })
}

/// Reads lines that the person pastes into the terminal, until the authorization request is over.
fn paste(over: &AtomicBool, answers: &mpsc::Sender<String>) -> io::Result<()> {
    /// Interval between checks that the request is not over, in milliseconds.
    const POLL_MILLIS: u16 = 100;
    let terminal = std::fs::File::open("/dev/tty")?;
    let mut lines = BufReader::new(&terminal);
    while !over.load(Ordering::Acquire) {
        let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(POLL_MILLIS))? == 0 {
            continue;
        }
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim();
        if !line.is_empty() && answers.blocking_send(line.to_owned()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(names_itself: bool) -> AuthorizationServer {
        let text = format!(
            r#"{{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t",
            "authorization_response_iss_parameter_supported":{names_itself}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn judged(answer: &str, names_itself: bool) -> Result<String, LoginError> {
        let (server, url) = (server(names_itself), Url::parse("https://as.example/a").unwrap());
        judge(
            answer,
            &ConsentRequest {
                url: &url,
                state: "s",
                server: &server,
                browser: false,
                terminal: true,
                note: PathBuf::new(),
            },
        )
    }

    #[test]
    fn only_an_answer_to_the_question_from_the_server_that_was_asked_counts() {
        let address = "http://127.0.0.1:1/callback?code=c%2F1&state=s";
        assert_eq!(judged(address, false).unwrap(), "c/1");
        assert!(matches!(judged("c/1", false), Err(LoginError::Untrusted(_))), "whose would it be?");
        assert!(matches!(judged(address, true), Err(LoginError::Refused(_))), "it must name itself");
        assert_eq!(judged(&format!("{address}&iss=https%3A%2F%2Fas.example"), true).unwrap(), "c/1");
        for iss in ["https://evil.example", "https://as.example/"] {
            assert!(
                matches!(judged(&format!("{address}&iss={iss}"), false), Err(LoginError::Refused(_))),
                "{iss}"
            );
        }
        assert!(matches!(judged("?code=c&state=other", false), Err(LoginError::Untrusted(_))));
        let refused = judged("?error=access_denied&error_description=no+way&state=s", false).unwrap_err();
        assert!(refused.to_string().contains("access_denied: no way"), "{refused}");
    }
}
