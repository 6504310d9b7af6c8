{{/* What several templates say alike. */}}

{{- define "darkroom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "darkroom.selector" . }}
{{- end }}

{{- define "darkroom.selector" -}}
app.kubernetes.io/name: darkroom
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The image of a part: (list $ "api"). */}}
{{- define "darkroom.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{ index $image (index . 1) }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{/* Settings as the environment: (list of mappings, the later ones first in right). */}}
{{- define "darkroom.settings" -}}
{{- range $name, $value := mergeOverwrite dict (index . 0) (index . 1) }}
- name: DARKROOM_{{ upper $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{/* Where Redis and the bucket are: secrets by reference, the rest in words. */}}
{{- define "darkroom.stores" -}}
{{- $secret := .Values.existingSecret -}}
- name: DARKROOM_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: redis-url}}
- name: DARKROOM_S3_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: s3-access-key, optional: true}}
- name: DARKROOM_S3_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: s3-secret-key, optional: true}}
- name: DARKROOM_S3_REGION
  value: {{ .Values.s3.region | quote }}
- name: DARKROOM_S3_BUCKET
  value: {{ .Values.s3.bucket | quote }}
{{- with .Values.s3.endpoint }}
- name: DARKROOM_S3_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.s3.publicEndpoint }}
- name: DARKROOM_S3_PUBLIC_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- if .Values.catalog }}
- name: DARKROOM_CATALOG
  value: /etc/darkroom/models.yaml
{{- end }}
{{- end }}

{{/* What every pod says of itself. */}}
{{- define "darkroom.pod" -}}
serviceAccountName: {{ .Release.Name }}-darkroom
# No pod of ours talks to Kubernetes.
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "darkroom.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* A model's name as part of the names of what belongs to it. */}}
{{- define "darkroom.label" -}}
{{ . | replace "." "-" | replace "_" "-" | trunc 40 | trimSuffix "-" }}
{{- end }}
