use super::*;

fn response(text: &str) -> Result<(u16, usize, Bytes), String> {
    let text = Utf8Bytes::from(text.to_owned());
    let (response, body) = read_response(&text).map_err(|error| error.to_string())?;
    let body = body.decode().map_err(|error| error.to_string())?;
    Ok((response.status.as_u16(), response.headers.len(), body))
}

#[test]
fn answers_of_upstream_are_read() {
    let found = response(
        r#"{"requestID":"a","statusCode":200,"headers":{"Content-Type":["application/json"],"Warning":["1","2"]},"body":"e30="}"#,
    );
    assert_eq!(found, Ok((200, 3, Bytes::from_static(b"{}"))));
    assert_eq!(response(r#"{"requestID":"a","statusCode":204}"#), Ok((204, 0, Bytes::new())));
    assert_eq!(
        response(r#"{"requestID":"a","statusCode":200,"body":null,"headers":null,"error":null}"#),
        Ok((200, 0, Bytes::new()))
    );
    // A field of a later version, and a body whose text is escaped.
    let later = r#"{"requestID":"a","statusCode":200,"later":{"deep":[1,{"er":null}]},"body":"\u0065\u0033\u0030\u003d"}"#;
    assert_eq!(response(later), Ok((200, 0, Bytes::from_static(b"{}"))));
}

#[test]
fn failures_of_the_agent_are_read() {
    for (text, code) in [
        (r#"{"requestID":"a","statusCode":502,"error":{"code":502,"message":"no"}}"#, Some(502)),
        (r#"{"requestID":"a","statusCode":0,"error":{"message":"no","details":{"a":[1]}}}"#, None),
        (r#"{"requestID":"a","error":{"code":404,"message":"no"}}"#, Some(404)),
        (r#"{"requestID":"a","error":{"code":200,"message":"no"}}"#, None),
    ] {
        let text = Utf8Bytes::from(text);
        let (response, _body) = read_response(&text).unwrap();
        let failure = response.failure.unwrap();
        assert_eq!(
            (failure.code.map(|code| code.as_u16()), failure.message.as_str()),
            (code, "no"),
            "{text}"
        );
    }
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let deep =
        |n: usize| format!(r#"{{"requestID":"a","statusCode":200,"x":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(response(&deep(50)).is_ok());
    let many: Vec<String> = (0..300).map(|i| format!(r#""h{i}":["v"]"#)).collect();
    let details = format!(
        r#"{{"requestID":"a","error":{{"details":{}{}}}}}"#,
        r#"{"a":"#.repeat(200) + "1",
        "}".repeat(200)
    );
    for text in [
        "",
        "null",
        "[]",
        r#""text""#,
        "{}",
        r#"{"requestID":"a"}"#,
        r#"{"requestID":"a","statusCode":200} trailing"#,
        r#"{"requestID":"a","statusCode":200}{"requestID":"a","statusCode":200}"#,
        r#"{"requestID":"","statusCode":200}"#,
        r#"{"requestID":1,"statusCode":200}"#,
        r#"{"requestID":null,"statusCode":200}"#,
        r#"{"statusCode":200}"#,
        r#"{"requestID":"a","statusCode":"200"}"#,
        r#"{"requestID":"a","statusCode":200.0}"#,
        r#"{"requestID":"a","statusCode":-200}"#,
        r#"{"requestID":"a","statusCode":65736}"#,
        r#"{"requestID":"a","statusCode":42}"#,
        r#"{"requestID":"a","statusCode":0}"#,
        r#"{"requestID":"a","requestID":"a","statusCode":200}"#,
        r#"{"requestID":"a","statusCode":200,"statusCode":200}"#,
        r#"{"requestID":"a","statusCode":200,"body":"","body":""}"#,
        r#"{"requestID":"a","statusCode":200,"headers":{},"headers":{}}"#,
        r#"{"requestID":"a","statusCode":200,"headers":{"A":["1"],"a":["2"]}}"#,
        r#"{"requestID":"a","statusCode":200,"headers":{"a":"1"}}"#,
        r#"{"requestID":"a","statusCode":200,"headers":{"a b":["1"]}}"#,
        r#"{"requestID":"a","statusCode":200,"headers":{"":["1"]}}"#,
        r#"{"requestID":"a","statusCode":200,"headers":{"a":["1\r\nb: 2"]}}"#,
        r#"{"requestID":"a","statusCode":200,"headers":["a"]}"#,
        r#"{"requestID":"a","statusCode":200,"body":"e30"}"#,
        r#"{"requestID":"a","statusCode":200,"body":"e3 0="}"#,
        r#"{"requestID":"a","statusCode":200,"body":"!!!!"}"#,
        r#"{"requestID":"a","statusCode":200,"body":{}}"#,
        r#"{"requestID":"a","error":{"code":"502"}}"#,
        r#"{"requestID":"a","error":"no"}"#,
        &deep(200),
        &deep(100_000),
        &details,
        &format!(r#"{{"requestID":"a","statusCode":200,"headers":{{{}}}}}"#, many.join(",")),
    ] {
        assert!(response(text).is_err(), "{text:.200}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    for n_bytes in [0, 1, 2, 3, 4, 1000, 300_000] {
        let body: Vec<u8> = (0..n_bytes).map(|i: u32| i.to_le_bytes()[0]).collect();
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("\"quoted\" \\ value"));
        headers.append("x-a", HeaderValue::from_static("another"));
        let request = Request {
            id: "id".into(),
            label: Some("label".into()),
            target: "k8s".into(),
            method: Method::PATCH,
            path: "/api/v1/pods/a%2fb".into(),
            query: Some("watch=1&x=\"".into()),
            headers: headers.clone(),
        };
        let text = request.write(&body);
        let (read, encoded) = read_request(&text).unwrap();
        assert_eq!(read.headers, headers);
        assert_eq!((&*read.id, &*read.target, &*read.path), ("id", "k8s", "/api/v1/pods/a%2fb"));
        assert_eq!((read.method, read.query.as_deref()), (Method::PATCH, Some("watch=1&x=\"")));
        assert_eq!(encoded.decode().unwrap(), body);
        let answer = Response {
            id: "id".into(),
            status: StatusCode::CREATED,
            headers: headers.clone(),
            failure: None,
        };
        let text = answer.write(&body);
        let (read, encoded) = read_response(&text).unwrap();
        assert_eq!((read.status, read.headers), (StatusCode::CREATED, headers));
        assert_eq!(encoded.decode().unwrap(), body);
    }
}
