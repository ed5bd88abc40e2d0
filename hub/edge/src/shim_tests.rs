use http::Request;
use loop_proto::ids::MessageId;

use super::*;

/// Counts, so that two unique ids differ.
struct Counting(std::sync::atomic::AtomicU8);

impl Outside for Counting {
    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }

    fn unix_seconds(&self) -> u64 {
        1_795_232_963
    }
}

fn outside() -> Counting {
    Counting(1.into())
}

fn rules() -> Rules {
    Rules { url_bytes_max: 16 * 1024, params: Limits::default(), trust_proxy: false, public_url: None }
}

fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri(url).header("host", "127.0.0.1:8080");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn parsed(parts: &Parts, form: &str, outside: &Counting) -> Result<Parsed, Refusal> {
    let head = head(parts, &rules())?;
    let Route::Peer(endpoint) = head.route else { panic!("{:?} is no endpoint of a peer", head.route) };
    parse(parts, &head, endpoint, Bytes::copy_from_slice(form.as_bytes()), &rules(), outside)
}

fn call_with(method: &str, url: &str, headers: &[(&str, &str)], form: &str) -> Call {
    match parsed(&request(method, url, headers), form, &outside()) {
        Ok(Parsed::Call(call) | Parsed::Nothing(call)) => *call,
        Ok(Parsed::Running) => panic!("{url} is the running page"),
        Err(refusal) => panic!("{url}: {refusal}"),
    }
}

fn call(url: &str) -> Call {
    call_with("GET", url, &[], "")
}

fn key(name: &str) -> Option<ForumKey> {
    Some(ForumKey::of_name(name.as_bytes()))
}

/// The reads and writes the project was described with.
const PAGE: &str = "/api/search-secure.php?width=1322&height=302&uniqueFeedbackId=ajps_test&myMachineUser=92.27.10.17:8\
&cssFeedback=https%3A%2F%2Fatomjump.com%2Fcss%2Fcomments-1.0.4.css&server=https%3A%2F%2Fatomjump.com%2Fapi\
&clientremoteurl=https%3A%2F%2Ftest.atomjump.com%2F";
const STATUS: &str = "/api/logged-status.php?callback=jQuery111001906744773801886_1583350777474&passcode=ajps_test\
&email_modified=false&your-name-opt=&email-opt=&pd=&ph=&lang=en&users=&subscriberlimit=&setforumpassword=\
&forumpasscheck=&setforumtitle=test%40&_=1583350777475";
const READ: &str = "/api/search-chat.php?callback=jQuery111001906744773801886_1583350777476&lat=&lon=\
&passcode=ajps_test&units=mi&volume=1&records=25&whisper_site=92.27.10.17%3A8\
&sessionId=1p9nltbl2j449h1tv7a3f4tks3&_=1583350777477";
const SHOUT_HEAD: &str = "/api/index.php?callback=jQuery111007185678883165553_1583350964824&action=ssshout&lat=&lon=\
&whisper_to=&whisper_site=&your_name=&passcode=ajps_test&reading=&remoteapp=true\
&clientremoteurl=https%3A%2F%2Ftest.atomjump.com%2F&remoteurl=https%253A%252F%252Fatomjump.com%252Fapi%252F\
search-secure.php%253Fwidth%253D1322%2526height%253D302%2526uniqueFeedbackId%253Dother%2526passcode%253Dother\
&units=mi&short_code=&public_to=&volume=1.00&ses=1p9nltbl2j449h1tv7a3f4tks3&cs=21633478";

fn typing() -> String {
    format!("{SHOUT_HEAD}&typing=on&shout_id=&msg_id=1&message=S&email=&phone=&shouted=S&_=1583350964826")
}

fn commit(tail: &str) -> String {
    format!("{SHOUT_HEAD}&typing=off&msg_id=1&message=Starting+to+type%0D%0A&email=&phone=&shouted={tail}")
}

#[test]
fn the_sample_reads_and_writes_go_to_their_forum() {
    let page = call(PAGE);
    assert_eq!((page.endpoint, page.call.forum, page.writes), (Endpoint::ChatPage, key("ajps_test"), false));
    assert!(page.call.opens.is_none());
    assert_eq!(page.call.request.base_url, "http://127.0.0.1:8080/api");
    assert_eq!(&page.call.request.path[..], b"/search-secure.php");

    let status = call(STATUS);
    assert_eq!((status.endpoint, status.call.forum), (Endpoint::LoggedStatus, key("ajps_test")));
    assert!(status.call.opens.is_none());

    let read = call(READ);
    assert_eq!((read.endpoint, read.call.forum), (Endpoint::SearchChat, key("ajps_test")));
    assert_eq!(read.session.id, "1p9nltbl2j449h1tv7a3f4tks3");
    assert!(read.call.opens.is_none() && !read.writes);

    let fast = request("GET", "/search-chat.php?passcode=ajps_test&sessionId=abc", &[]);
    let mut fast_parts = fast.clone();
    fast_parts.headers.insert("host", http::HeaderValue::from_static("fast.atomjump.com"));
    let Ok(Parsed::Call(fast)) = parsed(&fast_parts, "", &outside()) else { panic!("not a call") };
    assert_eq!(fast.endpoint, Endpoint::FastSearchChat);
    assert!(!fast.session.set_cookie && fast.call.opens.is_none());
    // Where it sends strangers must not be where they came from.
    assert_eq!(fast.call.request.base_url, "http://fast.atomjump.com/api");

    for url in [typing(), commit("&shout_id=912394")] {
        let shout = call(&url);
        assert_eq!(
            (shout.endpoint, shout.call.forum, shout.writes),
            (Endpoint::Shout, key("ajps_test"), true)
        );
        assert!(shout.remote_app);
        let opening = Opening { name: Bytes::from_static(b"ajps_test"), general: Bytes::new() };
        assert_eq!(shout.call.opens, Some(opening));
    }
    let (begins, goes_on) = (call(&typing()).call, call(&commit("&shout_id=912394")).call);
    assert_eq!((begins.creates_message, begins.named_message), (true, None));
    assert_eq!((goes_on.creates_message, goes_on.named_message), (false, MessageId::new(912394)));
}

#[test]
fn each_script_keeps_to_its_own_name_of_the_forum() {
    let both = "uniqueFeedbackId=page&passcode=other";
    assert_eq!(call(&format!("/search-secure.php?{both}")).call.forum, key("page"));
    assert_eq!(call(&format!("/search-chat.php?{both}")).call.forum, key("other"));
    assert_eq!(call("/search-secure.php?passcode=other").call.forum, key("other"));
    assert_eq!(call("/search-chat.php?passcode=").call.forum, None);
    assert_eq!(call("/search-chat.php?passcode[]=x").call.forum, None);
}

#[test]
fn a_shout_that_may_not_write_is_a_read() {
    for tail in ["", "&cs=1", "&cs="] {
        let url = format!("/index.php?action=ssshout&passcode=f&message=x{tail}");
        let shout = call(&url);
        assert_eq!((shout.endpoint, shout.writes), (Endpoint::Shout, false), "{tail}");
        assert!(!shout.call.creates_message && shout.call.opens.is_none());
    }
    let nameless = call("/index.php?action=ssshout&message=x&cs=21633478");
    assert_eq!((nameless.call.forum, nameless.writes), (None, false));
    let head = call_with("HEAD", "/index.php?action=ssshout&passcode=f&message=x&cs=21633478", &[], "");
    assert!(!head.writes);
}

#[test]
fn which_ids_name_a_message() {
    let target = |id: &str| {
        let url = format!("/index.php?action=ssshout&passcode=f&cs=21633478&shout_id={id}");
        let call = call(&url).call;
        (call.creates_message, call.named_message)
    };
    for new in ["", "0", "abc", "12abc", "-5", "4294967296", "99999999999999999999", "1%20or%201=1", "+7"] {
        assert_eq!(target(new), (true, None), "{new}");
    }
    assert_eq!(target("2867"), (false, MessageId::new(2867)));
    assert_eq!(target("4294967295"), (false, MessageId::new(u32::MAX)));
}

#[test]
fn only_what_writes_may_open_a_forum_or_name_a_message() {
    for tail in ["", "&cs=1", "&cs=21633478x"] {
        let read = call(&format!("/index.php?action=ssshout&passcode=f&shout_id=7{tail}"));
        assert_eq!((read.call.opens, read.call.named_message), (None, None), "{tail}");
    }
    let reads =
        ["/search-chat.php?passcode=f&cs=21633478&shout_id=7", "/index.php?remoteapp=true&passcode=f"];
    for url in reads {
        let read = call(url);
        assert_eq!((read.call.opens, read.call.named_message), (None, None), "{url}");
    }
    let decaying = call("/index.php?action=ssshout&passcode=f&cs=21633478&general=%7B1%7D&message=x");
    let opening = Opening { name: Bytes::from_static(b"f"), general: Bytes::from_static(b"{1}") };
    assert_eq!(decaying.call.opens, Some(opening));
}

#[test]
fn a_removal_of_nothing_asks_nobody() {
    for url in [
        "/de.php?mid=5",
        "/de.php?passcode=f",
        "/de.php?passcode=f&mid=1%20or%201",
        "/de.php?passcode=&mid=5",
    ] {
        assert!(matches!(parsed(&request("GET", url, &[]), "", &outside()), Ok(Parsed::Nothing(_))), "{url}");
    }
    let removal = call("/de.php?passcode=f&mid=2867&just_typing=on");
    assert!(removal.writes && !removal.call.creates_message && removal.call.opens.is_none());
}

#[test]
fn a_commit_sent_again_is_the_same_request_and_nothing_else_is() {
    let id = |url: &str, outside: &Counting| {
        let Ok(Parsed::Call(call)) = parsed(&request("GET", url, &[]), "", outside) else {
            panic!("no call")
        };
        call.call.request_id
    };
    let outside = outside();
    let first = id(&commit("&shout_id=&_=1"), &outside);
    assert_eq!(first, id(&commit("&shout_id=2867&_=2"), &outside));
    let other_counter = commit("&shout_id=").replace("1583350964824", "1583350964999");
    assert_eq!(first, id(&other_counter, &outside));
    let other_page = commit("&shout_id=").replace("jQuery111007185678883165553", "jQuery999");
    assert_ne!(first, id(&other_page, &outside));
    assert_ne!(first, id(&commit("&shout_id=").replace("msg_id=1", "msg_id=2"), &outside));
    assert_ne!(id(&typing(), &outside), id(&typing(), &outside));
    let unnumbered = commit("&shout_id=").replace("msg_id=1", "msg_id=");
    assert_ne!(id(&unnumbered, &outside), id(&unnumbered, &outside));
}

#[test]
fn robots_have_no_session_and_leave_nothing_behind() {
    let robot = [("user-agent", "Googlebot/2.1"), ("cookie", "PHPSESSID=abc")];
    let read = call_with("GET", "/search-chat.php?passcode=f&ses=abc", &robot, "");
    assert_eq!(read.call.request.session_id, "");
    assert!(!read.session.set_cookie && read.call.opens.is_none());
}

#[test]
fn the_form_counts_but_not_for_the_callback() {
    let read = call_with("POST", "/search-chat.php?passcode=a", &[], "passcode=b&callback=jQuery1_2");
    assert_eq!(read.call.forum, key("b"));
    assert_eq!(read.callback, Callback::default());
    assert_eq!(&read.call.request.form[..], b"passcode=b&callback=jQuery1_2");
}

#[test]
fn peers_get_few_headers() {
    let long = "x".repeat(PASSED_ON_BYTES_MAX + 1);
    let headers = [
        ("cookie", "PHPSESSID=abc; lang=es; other=1"),
        ("user-agent", "ua"),
        ("referer", long.as_str()),
        ("authorization", "Basic x"),
    ];
    let read = call_with("GET", READ, &headers, "");
    let names: Vec<_> = read.call.request.headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["cookie", "user-agent", "host"]);
    assert_eq!(&read.call.request.headers[0].value[..], b"lang=es");
}

#[test]
fn what_is_refused_and_how() {
    let refusal = |method: &str, url: &str| match parsed(&request(method, url, &[]), "", &outside()) {
        Err(refusal) => refusal,
        Ok(_) => panic!("{url} was taken"),
    };
    assert_eq!(refusal("PUT", READ), Refusal::Method);
    assert_eq!(
        refusal("GET", &format!("/search-chat.php?{}", "a".repeat(16 * 1024))),
        Refusal::UrlTooLong(16 * 1024)
    );
    assert!(matches!(refusal("GET", &format!("/search-chat.php?{}", "a&".repeat(300))), Refusal::TooMuch(_)));
    assert_eq!(refusal("GET", "/search-chat.php?callback[]=x"), Refusal::BadCallback(BadCallback));
    let mut no_host = request("GET", READ, &[]);
    no_host.headers.remove("host");
    assert!(matches!(parsed(&no_host, "", &outside()), Err(Refusal::BadHost(_))));
    let mut fast = request("GET", "/search-chat.php?passcode=f", &[]);
    fast.headers.insert("host", http::HeaderValue::from_static("fast.atomjump.com"));
    assert!(matches!(parsed(&fast, "", &outside()), Err(Refusal::NoSession)));
}

#[test]
fn index_without_anything_to_do_is_a_page() {
    for url in ["/index.php", "/api/", "/index.php?passcode=f"] {
        assert!(matches!(parsed(&request("GET", url, &[]), "", &outside()), Ok(Parsed::Running)), "{url}");
    }
    assert_eq!(call("/index.php?remoteapp=true&passcode=f").endpoint, Endpoint::Index);
}

proptest::proptest! {
    #[test]
    fn any_query_and_form_parse_without_panic(query: Vec<u8>, form: Vec<u8>, cookie: Vec<u8>, script in 0usize..4) {
        let script = ["search-chat.php", "index.php", "de.php", "search-secure.php"][script];
        let Ok(uri) = http::Uri::from_maybe_shared([format!("/{script}?").as_bytes(), &query].concat()) else {
            return Ok(());
        };
        let mut parts = request("GET", "/", &[]);
        parts.uri = uri;
        if let Ok(cookie) = http::HeaderValue::from_bytes(&cookie) {
            parts.headers.insert("cookie", cookie);
        }
        if let Ok(head) = head(&parts, &rules())
            && let Route::Peer(endpoint) = head.route
        {
            let _ = parse(&parts, &head, endpoint, form.into(), &rules(), &outside());
        }
    }

    #[test]
    fn a_nested_forum_name_never_routes(nested in "[a-z]{1,12}", depth in 1usize..4, own in "[A-Z]{1,12}") {
        let mut value = format!("http://x/?passcode={nested}&uniqueFeedbackId={nested}");
        for _ in 0..depth {
            value = percent_encoding::percent_encode(value.as_bytes(), percent_encoding::NON_ALPHANUMERIC).to_string();
        }
        let url = format!("/search-chat.php?remoteurl={value}&passcode={own}&clientremoteurl={value}");
        proptest::prop_assert_eq!(call(&url).call.forum, key(&own));
        let nameless = format!("/search-chat.php?remoteurl={value}&clientremoteurl={value}");
        proptest::prop_assert_eq!(call(&nameless).call.forum, None);
    }
}
