//! OTLP over gRPC. The messages are bytes already, so the codec only hands them on.

use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{MetadataKey, MetadataMap},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{super::worker::Undelivered, Settings};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A connection, made at the first delivery and again whenever it broke.
pub(super) struct Client {
    grpc: Grpc<Channel>,
    metadata: MetadataMap,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let mut endpoint = Endpoint::from_shared(settings.endpoint.clone())
            .map_err(|error| format!("this is no address, write `http://host:4317`: {error}"))?
            .connect_timeout(settings.timeout);
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = match &settings.roots {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(|error| format!("TLS cannot be set up: {error}"))?;
        }
        let mut metadata = MetadataMap::new();
        for (name, value) in &settings.headers {
            let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
            let (Ok(key), Ok(value)) = (key, value.parse()) else {
                return Err(format!("the header `{}` has characters that a header cannot have", name.escape_debug()));
            };
            metadata.insert(key, value);
        }
        Ok(Self { grpc: Grpc::new(endpoint.connect_lazy()), metadata, timeout: settings.timeout })
    }

    pub(super) async fn deliver(&mut self, batch: Bytes) -> Result<(), Undelivered> {
        match tokio::time::timeout(self.timeout, self.call(batch)).await {
            Ok(Ok(response)) => {
                super::partly(response);
                Ok(())
            }
            Ok(Err(status)) => Err(undelivered(&status)),
            Err(_) => {
                let reason = format!("no answer within {:?}", self.timeout);
                Err(Undelivered { retry: true, after: None, reason })
            }
        }
    }

    async fn call(&mut self, batch: Bytes) -> Result<ExportTraceServiceResponse, Status> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(super::chain(&error)))?;
        let mut request = Request::new(batch);
        *request.metadata_mut() = self.metadata.clone();
        let path = PathAndQuery::from_static(EXPORT);
        Ok(self.grpc.unary(request, path, Raw).await?.into_inner())
    }
}

/// Which failures may pass is said by the OTLP specification.
fn undelivered(status: &Status) -> Undelivered {
    let retry = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
    );
    // The message alone: the chain behind it says the same once more.
    Undelivered { retry, after: None, reason: format!("{:?}: {}", status.code(), status.message()) }
}

/// Bytes out, a response in.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, batch: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(batch.len());
        buffer.put_slice(&batch);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let decoded = ExportTraceServiceResponse::decode(buffer);
        decoded.map(Some).map_err(|error| Status::internal(format!("the answer is no OTLP: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
