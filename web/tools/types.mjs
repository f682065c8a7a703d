// Writes the types of the API's answers, from the committed OpenAPI documents, into
// sdk/src/api.ts. With a folder as argument it writes there instead, for comparison.

import { readFileSync, writeFileSync } from 'node:fs'
import openapiTS, { astToString } from 'openapi-typescript'

const root = new URL('../../', import.meta.url)

/** Which paths a shop's pages use; the merchants' many others stay out. */
const documents = {
  'engine/openapi.json': () => true,
  'catalog/openapi.json': path =>
    /^\/v1\/(branding\/\{shop\}|buyer-sessions\/(phone|wechat)|phone-codes|images\/\{hash\})$/.test(path),
}

/** A document cut down to some paths and the schemas that they reach. */
function cut(document, isWanted) {
  const paths = Object.fromEntries(Object.entries(document.paths).filter(([path]) => isWanted(path)))
  const schemas = {}
  const reach = value => {
    for (const [, name] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (name in schemas) continue
      schemas[name] = document.components.schemas[name]
      reach(schemas[name])
    }
  }
  reach(paths)
  return { paths, schemas }
}

const whole = { openapi: '3.1.0', info: { title: 'flashsale', version: '0' }, paths: {}, components: { schemas: {} } }
for (const [file, isWanted] of Object.entries(documents)) {
  const { paths, schemas } = cut(JSON.parse(readFileSync(new URL(file, root), 'utf8')), isWanted)
  Object.assign(whole.paths, paths)
  // Both documents have a `Problem`; the first one's stays.
  whole.components.schemas = { ...schemas, ...whole.components.schemas }
}
const head = '// Written by `npm run types` from engine/openapi.json and catalog/openapi.json: not to be edited.\n\n'
const target = process.argv[2] ?? new URL('../sdk/src/api.ts', import.meta.url)
writeFileSync(target, head + astToString(await openapiTS(whole)))
