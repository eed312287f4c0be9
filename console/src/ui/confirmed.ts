import { ElMessageBox } from 'element-plus'

interface Question {
  title: string
  /** What will be lost. */
  text: string
  yes: string
  no: string
  /** It cannot be undone. */
  dangerous?: boolean
}

/** Whether somebody agrees to something. Load it when it is needed: `await import('@/ui/confirmed')`. */
export async function confirmed({ title, text, yes, no, dangerous = false }: Question): Promise<boolean> {
  return ElMessageBox.confirm(text, title, {
    confirmButtonText: yes,
    cancelButtonText: no,
    confirmButtonType: dangerous ? 'danger' : 'primary',
  }).then(
    () => true,
    () => false,
  )
}
