//! The few pages a hub makes itself.

use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY},
};
use loop_atomjump::escape::attr;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    answer::{self, Answer},
    config::HttpConfig,
    session::Session,
};

/// `/`: says what this is and shows the chat of one forum.
pub fn front(config: &HttpConfig, base_url: &str, hubs: &[String]) -> Answer {
    let forum = &config.demo_forum;
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let chat = format!(
        "search-secure.php?width=420&height=560&uniqueFeedbackId={}&myMachineUser=&server={}&clientremoteurl={}",
        encoded(forum),
        encoded(base_url),
        encoded(&format!("{base_url}/")),
    );
    let (here, others) = hubs.split_first().map_or(("", &[][..]), |(here, others)| (here.as_str(), others));
    let link = |address: &String| {
        let url = attr(&url_of(address));
        let shown = attr(address);
        format!(
            "<li><a href=\"{url}\" target=\"_blank\" rel=\"noopener\">Open the same forum through {shown}</a></li>"
        )
    };
    let links: String = others.iter().map(link).collect();
    let page = include_str!("../assets/index.html")
        .replace("{{links}}", &links)
        .replace("{{hub}}", &attr(here))
        .replace("{{chat}}", &attr(&chat))
        .replace("{{forum}}", &attr(forum));
    // Nobody shows this page in a frame: it is where a group introduces itself.
    let policy = "default-src 'self'; script-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    own_page(page, HeaderValue::from_static(policy))
}

/// `realtime.html`: a client for direct messages, through this hub or another. It connects to hubs and to nothing else.
pub fn realtime(base_url: &str, hubs: &[String]) -> Answer {
    let others = hubs.iter().skip(1).map(|address| url_of(address).trim_end_matches('/').to_owned());
    let all: Vec<String> = std::iter::once(base_url.to_owned()).chain(others).collect();
    let option = |url: &String| {
        let shown = url.split_once("://").map_or(url.as_str(), |(_, authority)| authority);
        format!("<option value=\"{}\">{}</option>", attr(url), attr(shown))
    };
    let options: String = all.iter().map(option).collect();
    let page = include_str!("../assets/realtime.html").replace("{{hubs}}", &options);
    // What is no address has no place in a policy.
    let is_plain = |url: &&String| url.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:/[]".contains(&b));
    let sources: Vec<String> = all.iter().filter(is_plain).map(|url| url.replacen("http", "ws", 1)).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'self'",
        sources.join(" ")
    );
    own_page(page, HeaderValue::from_str(&policy).unwrap_or(answer::TEXT_PAGE))
}

/// `multi.html`: several of these clients in frames, for trying out.
pub fn multi(hubs: usize) -> Answer {
    let page = include_str!("../assets/multi.html").replace("{{count}}", &hubs.to_string());
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    own_page(page, HeaderValue::from_static(policy))
}

fn own_page(page: String, policy: HeaderValue) -> Answer {
    let mut answer = answer::with_body(StatusCode::OK, answer::HTML, page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// `index.php` with nothing to do: what an installer looks for.
pub fn running(base_url: &str, unix_seconds: u64) -> Answer {
    let page = include_str!("../assets/running.html").replace("{{server}}", &attr(base_url));
    let mut answer = answer::with_body(StatusCode::OK, answer::HTML, page);
    answer::page_headers(answer.headers_mut(), "no-store, no-cache, must-revalidate", unix_seconds);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, answer::TEXT_PAGE);
    answer
}

/// `init-sessions.php`: a window opened only to get the session cookie past third-party cookie rules.
pub fn init_sessions(session: &Session, unix_seconds: u64) -> Answer {
    let mut answer =
        answer::with_body(StatusCode::OK, answer::HTML, include_str!("../assets/init-sessions.html"));
    answer::session_headers(answer.headers_mut());
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, answer::SCRIPT_PAGE);
    if let Some(cookie) = session.cookie(unix_seconds).and_then(|c| HeaderValue::from_str(&c).ok()) {
        answer.headers_mut().insert(http::header::SET_COOKIE, cookie);
    }
    answer
}

fn url_of(address: &str) -> String {
    if address.starts_with("http://") || address.starts_with("https://") {
        format!("{}/", address.trim_end_matches('/'))
    } else {
        format!("http://{address}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_realtime_page_connects_to_hubs_only_and_prints_nothing_raw() {
        use http_body_util::BodyExt;
        let hubs = ["127.0.0.1:8080".to_owned(), "127.0.0.1:8081".to_owned(), "x\"; script-src *".to_owned()];
        let answer = realtime("https://hub.example", &hubs);
        let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains("connect-src wss://hub.example ws://127.0.0.1:8081; base-uri"), "{policy}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let page = std::str::from_utf8(&body).unwrap();
        assert!(page.contains("<option value=\"http://127.0.0.1:8081\">127.0.0.1:8081</option>"), "{page}");
        assert!(!page.contains("x\"; script") && !page.contains("{{"), "{page}");
    }

    #[tokio::test]
    async fn the_front_page_names_the_other_hubs_and_prints_nothing_raw() {
        use http_body_util::BodyExt;
        let config = HttpConfig { demo_forum: "a\"><script>".into(), ..HttpConfig::default() };
        let hubs =
            ["127.0.0.1:8080".to_owned(), "127.0.0.1:8081".to_owned(), "https://hub.example/".to_owned()];
        let answer = front(&config, "http://127.0.0.1:8080", &hubs);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let page = std::str::from_utf8(&body).unwrap();
        assert!(
            page.contains("href=\"http://127.0.0.1:8081/\"")
                && page.contains("href=\"https://hub.example/\"")
        );
        assert!(page.contains("server=http%3A%2F%2F127%2E0%2E0%2E1%3A8080"));
        assert!(!page.contains("\"><script>") && !page.contains("{{"));
    }
}
