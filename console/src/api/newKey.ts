/** A key that no other request has. `randomUUID` is only there where the page is secure, which one of a local network is not. */
export function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
