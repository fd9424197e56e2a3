package containerd

// dataDirOf is the host's directory of a container's data: the bot's, or a fork's
// own.
func (r *Runtime) dataDirOf(key string, rec record) string {
	if rec.Spec.OwnData {
		return r.snaps.Own(key)
	}
	return r.dataDir(rec.Spec.Ref.Bot)
}
