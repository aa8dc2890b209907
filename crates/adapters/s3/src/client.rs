//! The client: HTTP, TLS, credentials, time-outs, retries.

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use crate::config::S3Config;
use crate::error::S3Error;
use crate::retry::UndecidedPuts;

/// The region where nobody names one: servers that are not AWS's ignore it.
const DEFAULT_REGION: &str = "us-east-1";

/// A client of the configured server. Nothing is asked yet but what knows the credentials.
pub(crate) async fn connect(config: &S3Config) -> Result<Client, S3Error> {
    config.check()?;
    let https = https_client(config).await?;
    let shared = shared_config(config, https.clone()).await;
    let http =
        if config.is_plain_http() { aws_smithy_http_client::Builder::new().build_http() } else { https };
    let builder = aws_sdk_s3::config::Builder::from(&shared)
        .http_client(http)
        .force_path_style(config.force_path_style)
        .retry_classifier(UndecidedPuts)
        // The SDK's own budget is one for all clients of a region: a server that is away would use up the other's.
        .retry_partition(RetryPartition::custom("bucket").token_bucket(TokenBucket::default()).build())
        // Every request tells its digest, where the protocol has a place for it. What is read is checked against the digest
        // that we have put there ourselves (`read`): it tells damage from a connection that broke.
        .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Ok(Client::from_conf(builder.build()))
}

async fn https_client(config: &S3Config) -> Result<SharedHttpClient, S3Error> {
    let mut trusted = TrustStore::default();
    if let Some(path) = &config.ca_file {
        let pem = tokio::fs::read(path).await;
        let pem = pem.map_err(|source| S3Error::File { path: path.clone(), source })?;
        trusted.add_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| S3Error::Tls(error.to_string()))?;
    let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    Ok(builder.tls_context(context).build_https())
}

async fn shared_config(config: &S3Config, http: SharedHttpClient) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.timeouts.connect)
        .operation_attempt_timeout(config.timeouts.attempt)
        .operation_timeout(config.timeouts.call);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(config.attempts_max.get()))
        // Attempts have a limit of their own, and it is shorter.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region(config) {
        loader = loader.region(region);
    }
    if config.credentials_file.is_some() {
        loader = loader.credentials_provider(credentials_from_file(config, http));
    }
    let loaded = loader.load().await;
    match loaded.region() {
        Some(_) => loaded,
        None => loaded.into_builder().region(Region::from_static(DEFAULT_REGION)).build(),
    }
}

/// The region as configured; with an endpoint of one's own it is a word in signatures, and nobody else is asked for it.
fn region(config: &S3Config) -> Option<Region> {
    let default = config.endpoint.is_some().then(|| Region::from_static(DEFAULT_REGION));
    config.region.clone().map(Region::new).or(default)
}

/// Credentials of a profile in the configured file. The file is read when they are first needed, and again when they
/// expire.
#[expect(deprecated, reason = "the names that replace these are of a crate that is internal to the SDK")]
fn credentials_from_file(config: &S3Config, http: SharedHttpClient) -> ProfileFileCredentialsProvider {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};

    let region = region(config).unwrap_or(Region::from_static(DEFAULT_REGION));
    let around = ProviderConfig::without_region().with_http_client(http).with_region(Some(region));
    let path = config.credentials_file.clone().unwrap_or_default();
    let files = ProfileFiles::builder().with_file(ProfileFileKind::Credentials, path).build();
    let profile = config.profile.as_deref().unwrap_or("default");
    ProfileFileCredentialsProvider::builder()
        .configure(&around)
        .profile_files(files)
        .profile_name(profile)
        .build()
}
