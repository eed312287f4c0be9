import type { MessageContext, MessageFunction } from 'vue-i18n'

/** `{name}`, a value; `{'…'}`, what stands between the quotes as it is. */
const PLACE = /\{(?:(\w+)|'([^']*)')\}/
/** How many pieces `split` makes of a text and a place: the text before it, the name, what is between the quotes. */
const PIECES = 3

/** What compiled messages are given; the types of vue-i18n leave two of it out. */
type Context = MessageContext & {
  interpolate: (value: unknown) => string
  normalize: (pieces: string[]) => string
}
type Message = MessageFunction<string>

const made = new Map<string, Message>()

/**
 * The function that makes what is said of `text`, as vue-i18n's compiler would. The texts have values, literals and plural
 * forms (`one | many`) and no more of its syntax; to compile them here would take a good part of the time that a first page
 * needs, and its compiler a part of what that page loads.
 */
export function messageOf(text: string): Message {
  const known = made.get(text)
  if (known) return known
  const forms = text.split(' | ').map(formOf)
  const [only] = forms
  const message: Message = forms.length === 1 && only ? only : (context: MessageContext) => context.plural(forms.map((form) => form(context)))
  made.set(text, message)
  return message
}

function formOf(text: string): Message {
  const pieces = text.split(PLACE)
  if (pieces.length === 1) return () => text
  return (context: MessageContext) => {
    const { interpolate, normalize } = context as Context
    return normalize(
      pieces.flatMap((piece: string | undefined, at) => {
        if (piece === undefined) return []
        return [at % PIECES === 1 ? interpolate(context.named(piece)) : piece]
      }),
    )
  }
}
