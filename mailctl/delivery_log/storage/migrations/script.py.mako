"""${message}"""

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
${imports if imports else ""}

def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
