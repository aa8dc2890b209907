//! The gateway's own server over TCP.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use vidimus_gateway::{BODY_BYTES_MAX, GatewayConfig, serve};

use crate::house::House;

struct Server {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(house: &House) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (router, config, stop) =
            (house.gateway.router(), house.gateway.config().clone(), shutdown.clone());
        let running = tokio::spawn(async move { serve(listener, router, &config, stop).await });
        Self { address, shutdown, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back until the server closes the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }
}

/// A signed request's head as it goes over the wire, for a body of `length` bytes.
fn head(house: &House, operation: &str, body: &[u8], length: usize) -> String {
    let request = house.signed(&house.alice, operation, body.to_vec());
    let mut head = format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\nconnection: close\r\n");
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head + "\r\n"
}

#[tokio::test]
async fn requests_are_answered_and_shutdown_lets_them_finish() {
    let house = House::new().await;
    let server = Server::start(&house).await;
    let mut stream = server.connect().await;
    stream.write_all(head(&house, "ListCollections", b"{}", 2).as_bytes()).await.unwrap();
    // The body comes after the shutdown began: the request was there before it.
    stream.write_all(b"{").await.unwrap();
    while !house.metrics().contains("vidimus_gateway_requests_in_flight 1") {
        tokio::task::yield_now().await;
    }
    server.shutdown.cancel();
    stream.write_all(b"}").await.unwrap();
    let text = Server::rest(stream).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\"CollectionIds\":[]"), "{text}");
    server.running.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_so_that_the_client_reads_it() {
    let house = House::new().await;
    let server = Server::start(&house).await;
    let mut stream = server.connect().await;
    let length = BODY_BYTES_MAX + 20_000_000;
    stream.write_all(head(&house, "IndexFaces", b"", length).as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1_000_000];
    let mut sent = 0;
    while sent < length {
        let end = piece.len().min(length - sent);
        stream.write_all(&piece[..end]).await.unwrap();
        sent += end;
    }
    let text = Server::rest(stream).await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert!(text.contains("ImageTooLargeException"), "{text}");
    server.shutdown.cancel();
}

#[tokio::test]
async fn heads_that_are_slow_or_large_are_cut_off() {
    let config = GatewayConfig { head_read_timeout: Duration::from_millis(50), ..GatewayConfig::default() };
    let house = House::with(config).await;
    let server = Server::start(&house).await;
    for start in ["", "P", "PRI * HT", "POST / HTTP/1.1\r\nhost: x\r\n"] {
        let mut slow = server.connect().await;
        slow.write_all(start.as_bytes()).await.unwrap();
        let text = Server::rest(slow).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{start}: {text}");
    }
    let mut large = server.connect().await;
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(100_000));
    // The server may close before it has read all.
    let _ = large.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = large.read_to_end(&mut answer).await;
    let text = String::from_utf8(answer).unwrap();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    server.shutdown.cancel();
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let config = GatewayConfig { body_read_timeout: Duration::from_millis(50), ..GatewayConfig::default() };
    let house = House::with(config).await;
    let server = Server::start(&house).await;
    let mut stream = server.connect().await;
    stream.write_all(head(&house, "ListCollections", b"{}", 2).as_bytes()).await.unwrap();
    let text = Server::rest(stream).await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(text.contains("RequestTimeoutException"), "{text}");
    server.shutdown.cancel();
}
