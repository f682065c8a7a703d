// Written by web/build: not to be edited.
[
    File { path: "/assets/index-D2PVRZRc.css", media: "text/css; charset=utf-8", tag: "\"4723001490c0dee7\"", tag_br: "\"4723001490c0dee7-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-D2PVRZRc.css")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-D2PVRZRc.css.br")) },
    File { path: "/assets/index-FOuHf-13.js", media: "text/javascript; charset=utf-8", tag: "\"e9203d985b3a817a\"", tag_br: "\"e9203d985b3a817a-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-FOuHf-13.js")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/assets/index-FOuHf-13.js.br")) },
    File { path: "/favicon.svg", media: "image/svg+xml", tag: "\"95ea88e3d698600c\"", tag_br: "\"95ea88e3d698600c-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/favicon.svg")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/favicon.svg.br")) },
    File { path: "/", media: "text/html; charset=utf-8", tag: "\"4d3c85c4900fa177\"", tag_br: "\"4d3c85c4900fa177-br\"", plain: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/index.html")), br: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/index.html.br")) },
]
