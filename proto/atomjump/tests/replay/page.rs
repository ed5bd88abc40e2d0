//! The page: what scripts find in the captured one must be in ours.

use crate::{answers::Answered, capture::Capture};

/// Fields of AtomJump's options form, which comes with the settings.
const OPTIONS_FORM: [&str; 3] = ["email_modified", "forumpasscheck", "subscriberlimit"];

pub fn compare(capture: &Capture, body: &Answered, differences: &mut Vec<String>) {
    let page = body.body.as_str();
    let facts = &capture.json["response"]["body_facts"];
    if u64::from(body.status) != capture.status()
        || body.content_type != capture.response_header("Content-Type")
    {
        differences.push(format!("status {} {}", body.status, body.content_type));
    }
    for (name, value) in facts["hidden_inputs"].as_object().into_iter().flatten() {
        let field = format!("name=\"{name}\"");
        let tag = page.split('<').find(|tag| tag.contains(&field));
        let ours = tag.and_then(|tag| tag.split("value=\"").nth(1)).and_then(|rest| rest.split('"').next());
        let is_message = name == "message" && tag.is_some();
        if ours != value.as_str() && !is_message && !OPTIONS_FORM.contains(&name.as_str()) {
            differences.push(format!("field {name} is {ours:?} instead of {value}"));
        }
    }
    for pair in facts["js_vars"].as_array().into_iter().flatten() {
        let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        if !page.contains(&format!("\"{name}\": {value}")) {
            differences.push(format!("variable {name} is not {value}"));
        }
    }
    let words = facts["ajFeedback"].as_array().into_iter().flatten().filter_map(|word| word.as_str());
    for word in words.map(|word| word.trim_end_matches(',')).filter(|word| word.len() > 1) {
        if !page.contains(word) {
            differences.push(format!("{word} is not in ajFeedback"));
        }
    }
    if let Some(title) = facts["title_posted_to_parent"][0].as_str()
        && !page.contains(&format!("\"var_title\": \"{title}\""))
    {
        differences.push(format!("title {title} is not there to be posted"));
    }
    if facts["forumpass_input"].as_bool().is_some_and(|asked| asked != page.contains("id=\"forumpass\"")) {
        differences.push("the forum's password".to_owned());
    }
    if page.contains("<script>alert") || facts["script_reflected_unescaped"] == true {
        differences.push("reflects what it is given".to_owned());
    }
}
