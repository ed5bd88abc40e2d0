//! What the hub spends on understanding one request, without sockets.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use loop_hub_edge::{
    Outside,
    shim::{self, Rules},
};
use loop_proto::{php_params::Limits, v1::Endpoint};

const READ: &str = "/api/search-chat.php?callback=jQuery111001906744773801886_1583350777476&lat=&lon=\
&passcode=ajps_test&units=mi&volume=1&records=25&whisper_site=92.27.10.17%3A8\
&sessionId=1p9nltbl2j449h1tv7a3f4tks3&_=1583350777477";

const COMMIT: &str = "/api/index.php?callback=jQuery111007185678883165553_1583350964822&action=ssshout&lat=&lon=\
&whisper_to=&whisper_site=92.27.10.17%3A8&your_name=&passcode=ajps_test&reading=&remoteapp=true\
&clientremoteurl=https%3A%2F%2Ftest.atomjump.com%2F&remoteurl=https%253A%252F%252Fatomjump.com%252Fapi%252F\
search-secure.php%253Fwidth%253D1322%2526height%253D302%2526uniqueFeedbackId%253Dajps_test&units=mi&short_code=\
&public_to=&volume=1.00&ses=1p9nltbl2j449h1tv7a3f4tks3&cs=21633478&typing=off&shout_id=912394&msg_id=1\
&message=Starting+to+type%0D%0A&email=&phone=&shouted=&_=1583350964829";

/// Predictable, so that only parsing is measured.
struct Fixed;

impl Outside for Fixed {
    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn unix_seconds(&self) -> u64 {
        1_795_232_963
    }
}

fn parse(c: &mut Criterion) {
    let rules =
        Rules { url_bytes_max: 16 * 1024, params: Limits::default(), trust_proxy: false, public_url: None };
    for (name, url, endpoint) in [("read", READ, Endpoint::SearchChat), ("commit", COMMIT, Endpoint::Index)] {
        let request = http::Request::builder()
            .uri(url)
            .header("host", "127.0.0.1:8080")
            .header(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0",
            )
            .header(
                "cookie",
                "PHPSESSID=1p9nltbl2j449h1tv7a3f4tks3; ses=1p9nltbl2j449h1tv7a3f4tks3; lang=en",
            );
        let (parts, ()) = request.body(()).expect("the request is well formed").into_parts();
        c.bench_function(&format!("shim_parse/{name}"), |b| {
            b.iter(|| {
                let head = shim::head(black_box(&parts), &rules).expect("the request is taken");
                shim::parse(&parts, &head, endpoint, Bytes::new(), &rules, &Fixed).is_ok()
            });
        });
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
