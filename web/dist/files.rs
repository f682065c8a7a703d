// Written by web/build: not to be edited.
[
    File { path: "/assets/index-DUbK9NrT.css", media: "text/css; charset=utf-8", tag: "\"200b64f191c3c9ca\"", tag_br: "\"200b64f191c3c9ca-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-DUbK9NrT.css")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-DUbK9NrT.css.br")) },
    File { path: "/assets/index-cfMqeczC.js", media: "text/javascript; charset=utf-8", tag: "\"1fe390fff3eca7ff\"", tag_br: "\"1fe390fff3eca7ff-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-cfMqeczC.js")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-cfMqeczC.js.br")) },
    File { path: "/favicon.svg", media: "image/svg+xml", tag: "\"95ea88e3d698600c\"", tag_br: "\"95ea88e3d698600c-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/favicon.svg")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/favicon.svg.br")) },
    File { path: "/", media: "text/html; charset=utf-8", tag: "\"01d4ce27a211550b\"", tag_br: "\"01d4ce27a211550b-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/index.html")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/index.html.br")) },
]
