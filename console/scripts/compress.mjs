// Writes FILE.br and FILE.gz beside each text file of dist, for the server to send as they are.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const dist = new URL('../dist/', import.meta.url).pathname
const TEXT = /\.(js|css|html|svg|json)$/

for (const name of await readdir(dist, { recursive: true })) {
  if (!TEXT.test(name)) continue
  const file = path.join(dist, name)
  const content = await readFile(file)
  const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY }
  await writeFile(`${file}.br`, brotliCompressSync(content, { params }))
  await writeFile(`${file}.gz`, gzipSync(content, { level: 9 }))
}
