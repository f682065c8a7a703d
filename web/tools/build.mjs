// Builds the shop's pages into dist/ (or the folder that is named): hashed files, their brotli
// beside them, the integrity of scripts and styles in the page, and the list of all files that the
// program compiles in.

import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'
import { build } from 'vite'

const here = fileURLToPath(new URL('..', import.meta.url))
const dist = resolve(process.argv[2] ?? join(here, 'dist'))
const types = {
  html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml', txt: 'text/plain; charset=utf-8',
}

rmSync(dist, { recursive: true, force: true })
await build({ root: join(here, 'storefront'), logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } })

// A file that was changed on its way, as by a CDN, is not run.
const page = join(dist, 'index.html')
const html = readFileSync(page, 'utf8').replace(/(?:src|href)="(\/assets\/[^"]+)"/g, (attribute, path) => {
  const digest = createHash('sha384').update(readFileSync(join(dist, path))).digest('base64')
  return `${attribute} integrity="sha384-${digest}"`
})
writeFileSync(page, html.replace(/<!--[\s\S]*?-->\s*/g, '').replace(/\n\s+/g, '\n'))

const files = readdirSync(dist, { recursive: true }).map(String).filter(name => /\.[a-z]+$/.test(name)).sort()
const rows = files.map(name => {
  const bytes = readFileSync(join(dist, name))
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  writeFileSync(join(dist, `${name}.br`), brotliCompressSync(bytes, { params }))
  const [path, type] = [name === 'index.html' ? '/' : `/${name}`, types[name.split('.').pop()]]
  const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  const include = file => `include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/${file}"))`
  return `    File { path: "${path}", media: "${type}", tag: "\\"${tag}\\"", tag_br: "\\"${tag}-br\\"", plain: ${include(name)}, br: ${include(`${name}.br`)} },\n`
})
writeFileSync(join(dist, 'files.rs'), `// Written by web/build: not to be edited.\n[\n${rows.join('')}]\n`)
