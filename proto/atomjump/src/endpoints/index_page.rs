//! `index.php` opened by a person: says that the server runs, and how a page uses it.

use super::Answer;
use crate::{escape::attr, request::Request};

/// The page.
pub fn answer(request: &Request) -> Answer {
    let url = attr(&request.base_url);
    Answer::html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Messaging server</title>\n</head>\n<body>\n<main>\n<h1>The messaging server is running</h1>\n\
         <p>To put a chat on your page, give your messaging client this <code>server</code> address:</p>\n\
         <p><code>{url}</code></p>\n</main>\n</body>\n</html>\n"
    ))
}
