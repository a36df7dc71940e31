//! Requests through `wasi:http`. Only a module that calls `send` imports it.

use super::{Error, Request, Response};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

/// How many bytes `blocking-write-and-flush` takes at a time.
const CHUNK: usize = 4096;

/// Sends a request and reads the answer.
pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    let name = format!("{} {}", request.method, request.url);
    let outgoing = outgoing(request, &name)?;
    let body = outgoing.body().map_err(|()| failed(&name, "it takes no body"))?;
    let options = RequestOptions::new();
    let time_out = request.time_out.map(|time_out| u64::try_from(time_out.as_nanos()).unwrap_or(u64::MAX));
    options.set_connect_timeout(time_out).map_err(|()| failed(&name, "it takes no time-out"))?;
    options.set_first_byte_timeout(time_out).map_err(|()| failed(&name, "it takes no time-out"))?;
    let answer = outgoing_handler::handle(outgoing, Some(options)).map_err(|code| error(&name, code))?;
    // When the body cannot be written, the answer knows why.
    let written = write(body, &request.body);
    let pollable = answer.subscribe();
    pollable.block();
    drop(pollable);
    match answer.get() {
        Some(Ok(Ok(incoming))) => {
            written.map_err(|reason| failed(&name, &reason))?;
            read(&incoming, name)
        }
        Some(Ok(Err(code))) => Err(error(&name, code)),
        Some(Err(())) | None => Err(failed(&name, "its answer was taken already")),
    }
}

fn outgoing(request: &Request, name: &str) -> Result<OutgoingRequest, Error> {
    let (scheme, rest) = match request.url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
        _ => return Err(invalid(name, "the address does not begin with `http://` or `https://`")),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };

    let headers = Fields::new();
    for (key, value) in &request.headers {
        headers
            .append(key, value.as_bytes())
            .map_err(|reason| invalid(name, &format!("the header `{key}` is refused: {reason:?}")))?;
    }
    // Without it the body goes in chunks, which some servers do not take.
    if !request.body.is_empty() && !headers.has("content-length") {
        let length = request.body.len().to_string();
        headers
            .append("content-length", length.as_bytes())
            .map_err(|reason| invalid(name, &format!("its length is refused: {reason:?}")))?;
    }
    let outgoing = OutgoingRequest::new(headers);
    outgoing.set_method(&method(&request.method)).map_err(|()| invalid(name, "the method is none"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid(name, "the scheme is none"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| invalid(name, "the host is none"))?;
    outgoing.set_path_with_query(Some(&path)).map_err(|()| invalid(name, "the path is none"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    if !bytes.is_empty() {
        let stream = body.write().map_err(|()| "its body was taken already".to_owned())?;
        for chunk in bytes.chunks(CHUNK) {
            stream.blocking_write_and_flush(chunk).map_err(|error| format!("its body could not be sent: {error:?}"))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| format!("its body could not be ended: {code:?}"))
}

fn read(incoming: &IncomingResponse, name: String) -> Result<Response, Error> {
    let status = incoming.status();
    let headers = incoming
        .headers()
        .entries()
        .into_iter()
        .map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let consumed = incoming.consume().map_err(|()| failed(&name, "its answer was taken already"))?;
    let body = read_body(&consumed, &name)?;
    Ok(Response { status, headers, body, request: name })
}

fn read_body(incoming: &IncomingBody, name: &str) -> Result<Vec<u8>, Error> {
    let stream = incoming.stream().map_err(|()| failed(name, "its answer was taken already"))?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(bytes) => body.extend(bytes),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(reason)) => {
                let code = wasip2::http::types::http_error_code(&reason);
                return Err(match code {
                    Some(code) => error(name, code),
                    None => failed(name, &format!("its answer ended early: {}", reason.to_debug_string())),
                });
            }
        }
    }
}

/// The host gives the rule that refused a request as the text of an internal error, the only code that has one.
fn error(name: &str, code: ErrorCode) -> Error {
    match code {
        ErrorCode::InternalError(Some(rule)) => Error::Refused(rule),
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Error::Refused(format!("{name} is refused by a rule of the host"))
        }
        code => {
            let code = format!("{code:?}");
            failed(name, code.strip_prefix("ErrorCode::").unwrap_or(&code))
        }
    }
}

fn invalid(name: &str, reason: &str) -> Error {
    Error::Invalid(format!("{name} is no request: {reason}"))
}

fn failed(name: &str, reason: &str) -> Error {
    Error::Failed(format!("{name} failed: {reason}"))
}
