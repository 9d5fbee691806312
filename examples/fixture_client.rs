//! Client for the official conformance suite, on the Rust SDK: `fixture_client URL`.
//!
//! A single flow serves every scenario: connect, list and call everything, and authorize when the
//! server asks for it. An environment variable of the suite says which revision to speak.

#![expect(deprecated, reason = "sampling and roots are on their way out, and still tested")]
#![expect(clippy::print_stderr, reason = "what it says is read in the suite's output")]

use std::{error::Error, time::Duration};

use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, ServiceError,
    model::*,
    service::{ClientInitializeError, NotificationContext, RequestContext, RunningService},
    transport::{
        AuthClient, AuthorizationManager, StreamableHttpClientTransport,
        auth::{AuthorizationRequest, OAuthState, WWWAuthenticateParams},
        streamable_http_client::{
            AuthRequiredError, InsufficientScopeError, StreamableHttpClientTransportConfig,
        },
    },
};
use serde_json::{Value, json};

type Res<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Client = RunningService<RoleClient, Answers>;

/// Handler that answers all requests of the server: sampling, roots and forms (with their defaults).
#[derive(Clone)]
struct Answers;

impl ClientHandler for Answers {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::builder().enable_sampling().enable_roots().build();
        capabilities.elicitation =
            Some(ElicitationCapability::new().with_form(FormElicitationCapability::new()));
        ClientConfig::new(capabilities, Implementation::new("fixture-client", "0.1.0"))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text("Paris"), "fixture-model".into())
            .with_stop_reason("endTurn"))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new("file:///fixture").with_name("fixture")]))
    }

    async fn create_elicitation(
        &self,
        ask: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { requested_schema, .. } = ask else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        let required = requested_schema.required.clone().unwrap_or_default();
        let mut content = JsonObject::new();
        for (name, field) in &requested_schema.properties {
            let field = json!(field);
            if let Some(default) = field.get("default") {
                content.insert(name.clone(), default.clone());
            } else if required.contains(name) {
                content.insert(name.clone(), sample(&field));
            }
        }
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content.into()))
    }

    async fn on_progress(&self, p: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        eprintln!("progress {}", p.progress);
    }

    async fn on_logging_message(
        &self,
        p: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        eprintln!("log {}", p.data);
    }
}

/// Returns a sample value for a schema of a simple type.
fn sample(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("string") => json!("test"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

fn arguments(tool: &Tool) -> JsonObject {
    let required = tool.input_schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields = tool.input_schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    fields.iter().filter(|(k, _)| required.contains(&json!(k))).map(|(k, v)| (k.clone(), sample(v))).collect()
}

fn lifecycle() -> ClientLifecycleMode {
    let wanted = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_default();
    if wanted == ProtocolVersion::V_2026_07_28.as_str() {
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
    } else {
        ClientLifecycleMode::Initialize
    }
}

// ---- errors that ask for authorization

fn walk<'a>(from: &'a (dyn Error + 'static)) -> Option<&'a str> {
    let mut at = Some(from);
    while let Some(e) = at {
        if let Some(e) = e.downcast_ref::<AuthRequiredError>() {
            return Some(&e.www_authenticate_header);
        }
        if let Some(e) = e.downcast_ref::<InsufficientScopeError>() {
            return Some(&e.www_authenticate_header);
        }
        at = e.source();
    }
    None
}

fn challenge(e: &(dyn Error + Send + Sync + 'static)) -> Option<String> {
    if let Some(e) = e.downcast_ref::<ClientInitializeError>() {
        return e.auth_challenge().map(str::to_owned);
    }
    // rmcp 3.9.0 has no ServiceError::auth_challenge (3.11 does) and no #[source] on TransportSend.
    if let Some(ServiceError::TransportSend(e)) = e.downcast_ref::<ServiceError>() {
        return walk(&*e.error).map(str::to_owned);
    }
    None
}

// ---- one connection

async fn connect(url: &str, auth: Option<AuthorizationManager>) -> Result<Client, ClientInitializeError> {
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    match auth {
        None => {
            let transport = StreamableHttpClientTransport::from_config(config);
            Answers.serve_with_lifecycle(transport, lifecycle()).await
        }
        Some(manager) => {
            let http = AuthClient::new(reqwest::Client::new(), manager);
            let transport = StreamableHttpClientTransport::with_client(http, config);
            Answers.serve_with_lifecycle(transport, lifecycle()).await
        }
    }
}

/// Lists and calls everything; a refused call is an error only if it asks for authorization.
async fn exercise(client: &Client, calls: &[CallToolRequestParams]) -> Res<()> {
    let tools = client.list_all_tools().await?;
    let calls = if calls.is_empty() {
        tools
            .iter()
            .map(|t| CallToolRequestParams::new(t.name.clone()).with_arguments(arguments(t)))
            .collect()
    } else {
        calls.to_vec()
    };
    for call in calls {
        let name = call.name.clone();
        match client.call_tool(call).await {
            Err(e) if challenge(&e).is_some() => return Err(e.into()),
            Err(e) => eprintln!("{name}: {e}"),
            Ok(_) => {}
        }
    }
    let capabilities = client.peer_info().map(|i| i.capabilities.clone()).unwrap_or_default();
    if capabilities.resources.is_some() {
        for r in client.list_all_resources().await? {
            let _ = client.read_resource(ReadResourceRequestParams::new(r.uri.clone())).await;
        }
    }
    if capabilities.prompts.is_some() {
        for p in client.list_all_prompts().await? {
            let _ = client.get_prompt(GetPromptRequestParams::new(p.name)).await;
        }
    }
    Ok(())
}

/// Runs the authorization-code flow without a browser: the redirect is read, not followed.
async fn authorize(
    url: &str,
    www_authenticate: &str,
    scopes: &[String],
    known: &Value,
) -> Res<AuthorizationManager> {
    let mut ask = AuthorizationRequest::new("http://localhost:3000/callback")
        .with_client_name("fixture-client")
        .with_client_metadata_url("https://conformance-test.local/client-metadata.json")
        .with_challenge(www_authenticate)
        .with_initial_scope_selection()
        .with_scopes(scopes.iter().cloned());
    if let Some(id) = known["client_id"].as_str() {
        ask = ask.with_preregistered_client(id);
        if let Some(secret) = known["client_secret"].as_str() {
            ask = ask.with_client_secret(secret);
        }
    }
    let mut oauth = OAuthState::new(url, None).await?;
    oauth.start_authorization(ask).await?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let reply = http.get(oauth.get_authorization_url().await?).send().await?;
    let back = reply.headers().get("location").ok_or("no redirect")?.to_str()?.to_owned();
    oauth.handle_callback_url(&back).await?;
    Ok(oauth.into_authorization_manager().ok_or("not authorized")?)
}

async fn scenario(url: &str) -> Res<()> {
    let known: Value = std::env::var("MCP_CONFORMANCE_CONTEXT")
        .ok()
        .and_then(|s| serde_json::from_str(&s).ok())
        .unwrap_or_default();
    let calls: Vec<CallToolRequestParams> = known["toolCalls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| {
            let call = CallToolRequestParams::new(c["name"].as_str()?.to_owned());
            Some(call.with_arguments(c["arguments"].as_object().cloned().unwrap_or_default()))
        })
        .collect();
    let mut auth = None;
    let mut granted: Vec<String> = Vec::new();
    for attempt in 0.. {
        let outcome: Res<()> = match connect(url, auth.take()).await {
            Err(e) => Err(e.into()),
            Ok(client) => {
                let outcome = exercise(&client, &calls).await;
                client.cancel().await?;
                outcome
            }
        };
        let Err(e) = outcome else { return Ok(()) };
        let Some(www) = challenge(&*e) else { return Err(e) };
        if attempt == 3 {
            return Err(e);
        }
        // SEP-2350: request the scopes granted before together with those of the challenge.
        let mut scopes = granted.clone();
        if !scopes.is_empty() {
            let base = reqwest::Url::parse(url)?;
            let asked = WWWAuthenticateParams::parse(&www, &base).scope.unwrap_or_default();
            scopes.extend(asked.split_whitespace().map(str::to_owned));
        }
        let manager = authorize(url, &www, &scopes, &known).await?;
        granted = manager.get_current_scopes().await;
        auth = Some(manager);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Res<()> {
    /// Time limit below the thirty seconds of the suite, which then kills only the shell around this process.
    const PATIENCE: Duration = Duration::from_secs(25);
    let url = std::env::args().next_back().ok_or("give the URL of a server")?;
    tokio::time::timeout(PATIENCE, scenario(&url)).await?
}
