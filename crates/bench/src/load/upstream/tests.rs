use super::*;
use crate::load::{Client, messages_request};

#[tokio::test(flavor = "local")]
async fn a_stream_in_step_waits_for_its_client() {
    let upstream = Upstream::start().await.unwrap();
    upstream.set_reply(Reply::Stepped { events: 20, per_write: 8 });
    let request = messages_request(2048, 0, true);
    let mut client = Client::new(upstream.address());
    for _ in 0..2 {
        let mut parts = Vec::new();
        let exchange = client.exchange(&request, |part| {
            parts.push(part.len());
            upstream.received(part.len());
        });
        tokio::time::timeout(Duration::from_secs(60), exchange).await.unwrap().unwrap();
        assert_eq!(parts.iter().sum::<usize>(), 20 * EVENT_LENGTH);
    }
    // A client that says nothing is sent the first event and no more.
    let mut arrived = 0;
    client.begin(&request, |part| arrived += part.len()).await.unwrap();
    assert_eq!(arrived, EVENT_LENGTH);
}
