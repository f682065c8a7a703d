// Whether two builds are the same: all files byte by byte, but brotli by what it holds, since
// another Node may pack it otherwise.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

const [made, committed] = process.argv.slice(2).map(folder => {
  const names = readdirSync(folder, { recursive: true }).map(String).filter(name => /\.[a-z]+$/.test(name)).sort()
  return new Map(names.map(name => {
    const bytes = readFileSync(join(folder, name))
    return [name, name.endsWith('.br') ? brotliDecompressSync(bytes) : bytes]
  }))
})
const different = [...new Set([...made.keys(), ...committed.keys()])].filter(name => !made.get(name)?.equals(committed.get(name) ?? Buffer.alloc(0)))
for (const name of different) console.error(`different: ${name}`)
process.exit(different.length ? 1 : 0)
