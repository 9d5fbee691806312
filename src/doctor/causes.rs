//! The causes that the doctor can name. Each finding names one; the guide's table is made from these rows.

use super::check::CheckResult::{self, Failed, Unjudged, Warned};

/// A cause: what is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    /// Id, for scripts.
    pub id: &'static str,
    /// Id of the check that finds it: a row of [`CHECKS`](super::CHECKS).
    pub check: &'static str,
    /// Result of a check that finds it.
    pub verdict: CheckResult,
    /// What is wrong, without the names of a server.
    pub what: &'static str,
    /// Advice.
    pub fix: &'static str,
}

macro_rules! causes {
    ($($name:ident $id:literal $check:literal $verdict:ident $what:literal => $fix:literal)*) => {
        $(
            #[doc = $what]
            pub static $name: Cause =
                Cause { id: $id, check: $check, verdict: $verdict, what: $what, fix: $fix };
        )*

        /// All causes, in the order of the checks.
        pub static CAUSES: &[&Cause] = &[$(&$name),*];
    };
}

causes! {
    NOT_FOUND "not-found" "binary" Failed "no such program" => "install it, or write its whole path into the configuration"
    ONE_WORD "one-word" "binary" Failed "the whole command line stands in one word" => "give program and arguments as separate words (`command` and `args`)"
    NO_INTERPRETER "no-interpreter" "binary" Failed "the interpreter in the first line (#!) is missing" => "install it, or correct the first line"
    NOT_EXECUTABLE "not-executable" "binary" Failed "the file is not executable" => "chmod +x, or name the interpreter before it"
    TRIMMED_PATH "trimmed-path" "binary" Warned "the program is not on the PATH of desktop clients" => "write its whole path into the configuration"
    REFUSED "refused" "reach" Failed "nobody listens at this address (Connection refused)" => "start the server; check host and port (localhost may be ::1)"
    UNRESOLVED "unresolved" "reach" Failed "the host name does not resolve" => "check the name; inside containers `localhost` is the container"
    RESET "reset" "reach" Failed "the server closed the connection before it answered" => "see the server's log; a TLS port spoken to as http:// does this too"
    TLS "tls" "reach" Failed "TLS failed" => "http:// for a server without TLS; --ca for a certificate of your own"
    PROXY "proxy" "reach" Failed "the proxy of the environment cannot be reached or refuses" => "correct HTTP_PROXY, or add the host to NO_PROXY"
    HTTP_SILENT "http-silent" "reach" Failed "the server took the connection and sent no byte" => "the server is busy or blocked: see its log; raise --timeout if it needs long"
    UNREACHABLE "unreachable" "reach" Failed "the server cannot be reached" => "the reason is above: check the URL, the network and certificates"
    HTTP_REFUSED "http-refused" "reach" Failed "the server refuses with an HTTP status" => "the status and the beginning of the body are above; see the server's log"
    STREAM_SILENT "stream-silent" "reach" Failed "the server opened an event stream for its answer, and no answer came" => "send the answer as an event on the stream of its request; see the server's log"
    ACCEPTED_ONLY "accepted-only" "reach" Failed "a request was answered with 202 and without a message" => "202 is for notifications and answers of the client: answer a request with a message, in JSON or on a stream"
    HTTP_404 "http-404" "reach" Failed "404: there is nothing at this path" => "the path is part of the URL: most servers use /mcp, some /sse or /; see what was found at the others"
    HTTP_405 "http-405" "reach" Failed "405: this path takes no POST" => "name the path of the MCP endpoint (Streamable HTTP takes POST)"
    OLD_SSE "old-sse" "reach" Failed "this is the old HTTP+SSE transport (2024-11-05): GET opens a stream with an `endpoint` event" => "serve Streamable HTTP (2025-03-26 on) at one path; clients drop HTTP+SSE"
    HTTP_406 "http-406" "reach" Failed "406: the server does not produce what the Accept header names" => "answer `application/json, text/event-stream`; a proxy may have changed Accept"
    HTTP_415 "http-415" "reach" Failed "415: the server does not take application/json" => "take `Content-Type: application/json` for POST"
    HTTP_421 "http-421" "reach" Failed "421 or 403: the server refuses this Host or Origin (its guard against DNS rebinding)" => "allow the host in the server's transport security settings (allowed_hosts), or use the name that it allows"
    HTTP_429 "http-429" "reach" Failed "429: too many requests" => "wait as Retry-After says; the limit must let a handshake and three lists pass"
    HTTP_500 "http-500" "reach" Failed "5xx: the server failed" => "see the server's log for this time"
    HTTP_502 "http-502" "reach" Failed "502, 503 or 504: a proxy in front cannot reach the server, or it is starting" => "start the server behind the proxy; check the proxy's upstream address and time-out"
    REDIRECT "redirect" "reach" Failed "a redirect to another origin, often a login page" => "name the final URL; a login page needs --login or --header"
    REDIRECT_SAME "redirect-same" "reach" Warned "307/308 to another path of the same origin" => "write the final URL (often the slash at its end): not every client follows"
    WEB_PAGE "web-page" "reach" Failed "200 with a web page: this is not the MCP endpoint" => "name the MCP path; single-page servers answer every path with their page"
    NOT_RPC "not-rpc" "reach" Failed "200 with JSON that is no JSON-RPC message: this is another API" => "name the path of the MCP endpoint"
    CONTENT_TYPE "content-type" "reach" Failed "a message with another content type than application/json or text/event-stream" => "send `Content-Type: application/json` (or text/event-stream)"
    BROKEN_OFF "broken-off" "reach" Failed "the answer broke off" => "Content-Length must be the length of the body; see the server's log for a crash"
    UNAUTHORIZED "unauthorized" "authorization" Failed "401 with a challenge" => "--login, or --header 'Authorization: Bearer …'"
    UNAUTHORIZED_BARE "unauthorized-bare" "authorization" Failed "401 without WWW-Authenticate: clients cannot learn where to log in" => "--header 'Authorization: Bearer …'; the server should name resource_metadata (RFC 9728)"
    FORBIDDEN "forbidden" "authorization" Failed "403" => "the token lacks rights, or a firewall stands in front: the body says which"
    SESSION_LOST "session-lost" "reach" Failed "the server does not know the session that it gave (404 or 400)" => "share sessions between processes and replicas, or route by Mcp-Session-Id; one worker while you debug"
    NOTIFICATION_REFUSED "notification-refused" "reach" Failed "a notification was refused" => "answer notifications with 202 and no body"
    NOT_STARTED "not-started" "spawn" Failed "the process could not be started" => "check the path, its permissions, and its first line (#!)"
    EXITED "exited" "spawn" Failed "the server ended by itself" => "the telling lines of stderr are above; a stdio server runs until stdin ends"
    EXITED_SILENTLY "exited-silently" "spawn" Failed "the server ended by itself with code 0 and without a word" => "start the transport and wait for it (`mcp.run()`, `await server.connect(…)`); a script that only defines handlers ends"
    DIED_IN_CALL "died-in-call" "spawn" Failed "the server died in the course of a request" => "catch errors of a handler and answer with an error; the lines of stderr name the place"
    NODE_MODULE "node-module" "spawn" Failed "Node does not find a module" => "npm install / npm run build; a path in the configuration must be absolute"
    PYTHON_MODULE "python-module" "spawn" Failed "Python does not find a module" => "install it into the Python that the configuration names (`uv run`, or the venv's python)"
    MISSING_SETTING "missing-setting" "spawn" Failed "a setting of the environment is missing" => "set it under `env` of the entry: clients do not pass your shell's environment"
    PORT_IN_USE "port-in-use" "spawn" Failed "the port is in use" => "end the other process, or choose another port"
    EXITS_ON_PROBE "exits-on-probe" "probe" Warned "the server ends when a request comes before `initialize`" => "answer it with -32601 and stay: clients of 2026-07-28 ask server/discover first (rmcp: update)"
    OUTLIVES_STDIN "outlives-stdin" "shutdown" Warned "the server lives on after its stdin was closed" => "exit when standard input ends"
    SLOW_START "slow-start" "first-byte" Warned "the first answer takes more than 5 s" => "do slow work after the handshake; install beforehand instead of `npx -y` at every start"
    STRAY_LINE "stray-line" "stdout" Failed "a line on stdout that is no message" => "write logs to stderr (print(…, file=sys.stderr), console.error)"
    PROMPT "prompt" "stdout" Failed "a question on stdout without a newline: the program waits for a person" => "answer it beforehand (`npx -y`), or install first"
    FRAMING_LSP "framing-lsp" "stdout" Failed "Content-Length headers: that is the framing of LSP" => "one message a line and nothing else (MCP stdio)"
    FRAMING_PRETTY "framing-pretty" "stdout" Failed "a message over several lines" => "print without indentation (json.dumps(x), JSON.stringify(x)): one message a line"
    FRAMING_UTF8 "framing-utf8" "stdout" Failed "a line that is not UTF-8" => "write UTF-8 (Python: PYTHONUTF8=1; Windows: the console's code page)"
    FRAMING_NEWLINE "framing-newline" "stdout" Failed "a message without a newline at its end" => "end each message with \\n, and flush"
    FRAMING_PROGRESS "framing-progress" "stdout" Failed "a progress bar on stdout" => "write progress to stderr"
    BOM "bom" "stdout" Failed "a byte order mark before a message" => "write UTF-8 without a byte order mark"
    ANSWERS_AT_EOF "answers-at-eof" "timeouts" Failed "answers came only after stdin was closed" => "read stdin line by line, and flush stdout after each message (print(…, flush=True), python -u)"
    OVER_LIMIT "over-limit" "evidence" Unjudged "a message is over the inspect limit: only its beginning is known" => "record with a larger --inspect-limit; split the list into pages"
    LOST "lost" "evidence" Unjudged "records were lost: there is more than memory and disk can hold" => "the ranges are above; less output, or --tape on a disk with room"
    NO_ANSWER "no-answer" "handshake" Failed "the server runs, and answers neither server/discover nor initialize" => "answer `initialize`; a server that waits for something else says so on stderr"
    INITIALIZE_REFUSED "initialize-refused" "handshake" Failed "`initialize` was answered with an error" => "the error's text is above; `initialize` needs no configuration to succeed"
    NO_VERSION "no-version" "handshake" Failed "the result of `initialize` is without protocolVersion" => "answer with the version that was asked, or the newest that you speak"
    UNKNOWN_VERSION "unknown-version" "handshake" Failed "protocolVersion is no published version" => "one of 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25"
    NO_COMMON_VERSION "no-common-version" "handshake" Failed "the server speaks only versions that this program does not" => "offer a published version beside it; update shadowcat"
    DISCOVER_ONLY_OLD "discover-only-old" "handshake" Failed "server/discover names only versions that need `initialize`, and `initialize` fails" => "name 2026-07-28 in supportedVersions, or answer `initialize`"
    BAD_CAPABILITIES "bad-capabilities" "handshake" Failed "capabilities is not an object" => "`\"capabilities\": {}` with one member for each thing offered"
    NO_INITIALIZE "no-initialize" "client" Failed "the client's probe was refused, and it never sent `initialize`" => "the client must fall back to `initialize` (2026-07-28, versioning); the server is not at fault"
    ERAS_DIFFER "eras-differ" "era" Failed "client and server speak different eras" => "update the side that is behind, or put `shadowcat reverse` in between"
    LIST_SHAPE "list-shape" "pages" Failed "the list is not an array of objects with names" => "`\"tools\": [ {…} ]`"
    UNREAD "unread" "evidence" Unjudged "something cannot be read, so that nothing is known of it" => "mend what cannot be read first"
    MOOT "moot" "evidence" Unjudged "a check before this one failed" => "mend that first"
    LIST_REFUSED "list-refused" "pages" Failed "a declared list cannot be fetched" => "the error is above; clients show no tools at all"
    LIST_SILENT "list-silent" "pages" Failed "a list was never answered" => "answer lists at once, from memory"
    OVER_DECLARED "over-declared" "capabilities" Warned "declared, and the list is an unknown method" => "declare only what is answered"
    UNDECLARED_LIST "undeclared-list" "capabilities" Warned "answers a list that is not declared" => "declare it: clients ask only for what is declared"
    CURSOR_REPEATS "cursor-repeats" "pages" Failed "nextCursor does not advance: a cursor comes again" => "leave nextCursor out on the last page"
    CURSOR_ENDLESS "cursor-endless" "pages" Failed "pages without end" => "leave nextCursor out on the last page"
    CURSOR_EMPTY "cursor-empty" "pages" Warned "nextCursor is an empty string: 2026-07-28 takes it for a cursor, many clients for the end" => "leave nextCursor out on the last page"
    CURSOR_NULL "cursor-null" "pages" Warned "nextCursor is null or no string: strict clients refuse the list" => "leave nextCursor out on the last page"
    CURSOR_REFUSED "cursor-refused" "pages" Failed "the server refuses a cursor that it gave" => "keep cursors valid, or put the position into the cursor"
    LIST_LOOP "list-loop" "list-changed" Failed "each list is followed by an announcement that it changed: clients ask for ever" => "send list_changed only when the list has changed, never from the list's own handler"
    STALE_LIST "stale-list" "client" Warned "the server announced a changed list, and the client did not fetch it" => "restart the client, or report it to its developers"
    NAME_ILLEGAL "name-illegal" "names" Warned "a name that model APIs refuse (^[a-zA-Z0-9_-]{1,64}$)" => "letters, digits, _ and - only"
    NAME_LONG "name-long" "names" Warned "too long behind the prefix of a client (Claude Code: mcp__SERVER__TOOL up to 64; Cursor: SERVER + TOOL under 60)" => "shorten it: up to 40 characters are safe"
    NAME_TWICE "name-twice" "names" Warned "a name is listed twice" => "names are unique"
    SCHEMA_ROOT "schema-root" "schemas" Failed "the root of inputSchema is not {\"type\": \"object\"}" => "wrap it: {\"type\": \"object\", \"properties\": {…}}"
    SCHEMA_INVALID "schema-invalid" "schemas" Failed "a schema is not valid JSON Schema" => "the place is above; clients drop the tool or the whole list"
    SCHEMA_ODD "schema-odd" "schemas" Warned "a schema that several clients drop (anyOf at the root, remote $ref, no description)" => "keep the root a plain object, and definitions inside"
    COSTLY "costly" "context-cost" Warned "the definitions cost more than 10 000 tokens" => "shorten the heaviest, or split the server"
    CALL_SILENT "call-silent" "tools" Failed "a call was never answered" => "answer each call; send progress while it works, or answer with a task"
    NO_TIME "no-time" "timeouts" Unjudged "asked so shortly before the end that it could not be answered" => "keep the client running until the answer has come; doctor waits as long as --timeout says"
    UNANSWERED "unanswered" "timeouts" Failed "a request was never answered" => "answer each request, with an error if nothing else"
    SLOW_CALL "slow-call" "timeouts" Warned "an answer took longer than many clients wait (60 s)" => "send progress, or answer with a task"
    CALL_REFUSED "call-refused" "tools" Failed "a listed tool is refused or fails in the transport" => "the status or error is above"
    RESULT_SHAPE "result-shape" "tools" Failed "the result is null or has no content" => "a result is an object with `content`: [ … ]"
    ERROR_SHAPE "error-shape" "protocol" Failed "error is a string, or has no integer code and text message" => "`\"error\": {\"code\": -32603, \"message\": \"…\"}`"
    OUTPUT_SCHEMA "output-schema" "tools" Failed "structuredContent does not fit the tool's outputSchema, or is missing" => "return what outputSchema says: clients refuse the result"
    UNLISTED_TOOL "unlisted-tool" "tools" Warned "a tool was called that no list names" => "call a tool that the list names; a client may have an old list, or not have fetched a page"
    ID_TYPE "id-type" "ids" Failed "an answer has the id of no request, and nearly that of one (\"0\" for 0, null, missing, of another type)" => "send the id back as it came: the same JSON type and value"
    NO_JSONRPC "no-jsonrpc" "protocol" Failed "messages lack \"jsonrpc\": \"2.0\"" => "strict clients (zod, pydantic) drop every message without it"
    ARRAY_PARAMS "array-params" "protocol" Warned "params is an array" => "MCP takes objects only"
    LOG_LEVEL "log-level" "protocol" Warned "a log level that the protocol does not have" => "debug info notice warning error critical alert emergency (not warn, not fatal)"
    PROGRESS_BACK "progress-back" "protocol" Warned "progress does not increase" => "each progress of a token is greater than the one before"
    NO_RESULT_TYPE "no-result-type" "protocol" Warned "a result of 2026-07-28 without resultType" => "`\"resultType\": \"complete\"`"
    UNDECLARED_NOTICE "undeclared-notice" "capabilities" Warned "a notification of a capability that is not declared" => "declare it (`logging`, `listChanged`)"
    UNDECLARED_ASK "undeclared-ask" "protocol" Failed "the server asks for what the client did not declare (sampling, roots, elicitation)" => "look at the client's capabilities before asking"
    ASK_UNANSWERED "ask-unanswered" "client" Failed "a request of the server was never answered by the client" => "the client must answer, if only with -32601"
    ODD_ORDER "odd-order" "protocol" Warned "late, duplicate or unrequested messages" => "`lint:*` in the list of frames finds them"
    SECRET "secret" "secrets" Warned "something that looks like a secret" => "`shadowcat tape redact` before sharing; --redact from now on"
    CONFIG "config" "config" Warned "a configuration file of a client cannot be read" => "correct it at that line: the client ignores the whole file"
}
