//! The OpenAPI description tells the truth about the answers.

mod server_fake;

use serde_json::{Value, json};
use server_fake::{Gateway, POLICY, SHADOWED};
use std::collections::BTreeSet;

fn description(gateway: &Gateway) -> Value {
    let (status, description) = gateway.request("GET", "/openapi.json");
    assert_eq!(status, 200);
    description
}

#[test]
fn every_endpoint_is_described_and_every_description_served() {
    let gateway = Gateway::start();
    let description = description(&gateway);
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let endpoints = [
        "GET /openapi.json",
        "GET /v1/drops",
        "GET /v1/flows",
        "GET /v1/flows/top",
        "GET /v1/rules",
        "GET /v1/status",
        "POST /v1/apply",
    ];
    assert_eq!(described, BTreeSet::from(endpoints.map(String::from)));
    for endpoint in endpoints {
        let (method, path) = endpoint.split_once(' ').unwrap();
        // An apply without a body is refused, but by the endpoint.
        let expected = if method == "POST" { 422 } else { 200 };
        assert_eq!(gateway.request(method, path).0, expected, "{endpoint}");
    }
}

#[test]
fn the_document_is_openapi_3_1_and_refers_to_what_it_holds() {
    let gateway = Gateway::start();
    let description = description(&gateway);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut references = Vec::new();
    collect_references(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            assert!(operation["responses"].get("200").is_some(), "{method} {path}");
        }
    }
}

#[test]
fn what_flows_are_counted_by_is_a_closed_list_and_may_be_left_out() {
    let gateway = Gateway::start();
    let description = description(&gateway);
    let parameters = &description["paths"]["/v1/flows/top"]["get"]["parameters"];
    let by = parameters.as_array().unwrap().iter().find(|p| p["name"] == "by").unwrap();
    assert_ne!(by["required"], true, "{by}");
    let values: Vec<_> = match by["schema"]["oneOf"].as_array() {
        Some(choices) => choices.iter().flat_map(|c| c["enum"].as_array().unwrap()).collect(),
        None => by["schema"]["enum"].as_array().unwrap().iter().collect(),
    };
    assert_eq!(values, ["source", "rule"], "{by}");
}

#[test]
fn answers_are_as_described() {
    let gateway = Gateway::start();
    let description = description(&gateway);
    let answers = [
        ("get", "/v1/status", gateway.request("GET", "/v1/status")),
        ("get", "/v1/rules", gateway.request("GET", "/v1/rules")),
        ("get", "/v1/flows", gateway.request("GET", "/v1/flows")),
        ("get", "/v1/flows/top", gateway.request("GET", "/v1/flows/top?by=source")),
        ("get", "/v1/flows/top", gateway.request("GET", "/v1/flows/top?by=rule")),
        ("get", "/v1/flows/top", gateway.request("GET", "/v1/flows/top?by=x")),
        ("get", "/v1/drops", gateway.request("GET", "/v1/drops")),
        ("get", "/v1/drops", gateway.request("GET", "/v1/drops?limit=x")),
        ("post", "/v1/apply", gateway.apply("?if_generation=9", POLICY.as_bytes())),
        ("post", "/v1/apply", gateway.apply("", b"version: 1\nzones: 7\n")),
        ("post", "/v1/apply", gateway.apply("", POLICY.as_bytes())),
        ("post", "/v1/apply", gateway.apply("", SHADOWED.as_bytes())),
        ("get", "/v1/status", gateway.request("GET", "/v1/status")),
    ];
    for (method, path, (status, answer)) in answers {
        let responses = &description["paths"][path][method]["responses"];
        let schema = &responses[status.to_string()]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} does not describe {status}");
        let place = format!("{method} {path} {status}");
        if let Err(error) = conforms(&description, schema, &answer, &place) {
            panic!("{error}\n{answer:#}");
        }
    }
}

fn collect_references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(reference) if name == "$ref" => found.push(reference),
                    _ => collect_references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// Whether `value` is as `schema` says: the part of JSON Schema that the description uses.
/// Stricter in one thing: a field that is not described is an error. Schemas that all apply are
/// taken for one, with the fields of each.
fn conforms(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return conforms(root, root.pointer(&reference[1..]).unwrap(), value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|c| conforms(root, c, value, place).is_ok()).count();
        return if fits == 1 { Ok(()) } else { Err(format!("{place}: fits {fits} of oneOf")) };
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = json!({"type": "object", "properties": {}, "required": []});
        for part in parts {
            let part = part["$ref"].as_str().map_or(Some(part), |r| root.pointer(&r[1..])).unwrap();
            for (name, field) in part["properties"].as_object().unwrap() {
                whole["properties"][name] = field.clone();
            }
            for name in part["required"].as_array().unwrap() {
                whole["required"].as_array_mut().unwrap().push(name.clone());
            }
        }
        return conforms(root, &whole, value, place);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().map(|t| t.as_str().unwrap()).collect(),
        _ => return Err(format!("{place}: a schema without a type: {schema}")),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_u64() && types.contains(&"integer") => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&actual) {
        return Err(format!("{place}: {actual} instead of {types:?}"));
    }
    if let Value::Array(items) = value {
        for (i, item) in items.iter().enumerate() {
            conforms(root, &schema["items"], item, &format!("{place}[{i}]"))?;
        }
    }
    if let Value::Object(fields) = value {
        for required in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(required.as_str().unwrap()) {
                return Err(format!("{place}: no {required}"));
            }
        }
        for (name, field) in fields {
            let described = schema["properties"].get(name);
            let described = described.ok_or(format!("{place}: {name} is not described"))?;
            conforms(root, described, field, &format!("{place}.{name}"))?;
        }
    }
    Ok(())
}
